"""Weights between torch's names and shapes and Paddle's: a rule on arrays by name that needs no torch.

A Linear's weight is [out, in] in torch and [in, out] in Paddle; every other array is the same in both. The official
code has one module under two names, `proj` and `proj_cls`, and its state dicts list what is in it under both.
Source: IBM/RegionViT, `regionvit/regionvit.py` and `regionvit/attention/`. It registers no buffers; `rel_pos_index`,
a plain attribute there, is known here in case somebody's copy of it does.
"""

import numpy as np
import paddle

from engine.weights.pdparams import CheckpointError, check_finite, described, first_names, listed, misfits
from models import VARIANTS, build_model
from models.windows import relative_position_index

PREFIX = "module."  # of DataParallel
INDEX = ".rel_pos_index"
SHARED, SECOND_NAME = ".block.0.proj.", ".block.0.proj_cls."


def to_paddle(arrays, file):
    """Return the arrays of a torch state dict as Paddle's, and lines that say what was done to them.

    Args:
        arrays: names -> arrays, with or without `module.` and `proj_cls`.
        file: what messages call it.

    Raises:
        CheckpointError: names that contradict each other, an array of whole numbers, an index in another order.
    """
    state = {key.removeprefix(PREFIX): array for key, array in arrays.items()}
    if len(state) != len(arrays):
        twice = [key for key in arrays if PREFIX + key in arrays]
        raise CheckpointError(f"{file}: {listed(twice)}: both with and without {PREFIX!r}; remove one of them")
    indices = {key: state.pop(key) for key in list(state) if key.endswith(INDEX)}
    _check_indices(indices, file)
    if whole := [f"{key} ({array.dtype})" for key, array in state.items() if array.dtype.kind != "f"]:
        raise CheckpointError(f"{file}: {listed(whole)}: expected floating-point numbers: no weights of a RegionViT")
    first = first_names(state, file)
    renamed = sum(key.startswith(PREFIX) for key in arrays)
    return _transposed(first), _lines(
        (renamed, f"renamed: {renamed} keys, without {PREFIX!r}"),
        (len(state) - len(first), f"folded: {len(state) - len(first)} second names, 'proj_cls' of 'proj'"),
        (len(indices), f"dropped: {len(indices)} '{INDEX[1:]}', which the model computes itself"),
        (True, _transposed_line(first)),
    )


def to_torch(arrays):
    """Return the arrays of a Paddle model under the official names, and lines that say what was done to them.

    Args:
        arrays: names -> arrays, without `proj_cls`.
    """
    state = {}
    for key, array in _transposed(arrays).items():
        state[key] = array
        if SHARED in key:
            state[key.replace(SHARED, SECOND_NAME)] = array
    second = len(state) - len(arrays)
    return state, _lines(
        (True, _transposed_line(arrays)),
        (second, f"added: {second} second names, 'proj_cls' of 'proj'"),
    )


def recognise(arrays, file):
    """Return the name of the variant that finite arrays in Paddle's shapes are the weights of, and its classes.

    Raises:
        CheckpointError: no variant has exactly these names and shapes; lists the differences from the nearest one.
    """
    classes = next((arrays[key].shape[-1] for key in ("head.weight", "head.bias") if _has_axes(arrays, key)), 0)
    problems = {}
    for name in VARIANTS:
        with paddle.LazyGuard():  # shapes without values
            model = build_model(name, num_classes=classes)
        problems[name] = misfits(arrays, dict(model.named_parameters()))
    nearest = min(problems, key=lambda name: sum(map(len, problems[name].values())))
    if problems[nearest]:
        raise CheckpointError(
            f"{file} holds the weights of no RegionViT; the nearest is {nearest} with {classes} classes: "
            f"{described(problems[nearest])}"
        )
    check_finite(arrays, file)
    return nearest, classes


def _has_axes(arrays, key):
    return key in arrays and arrays[key].ndim > 0


def _is_linear(key, array):
    return array.ndim == 2 and key.endswith(".weight")  # `rel_pos` has two axes too


def _transposed(arrays):
    # In C order, whatever order a file had: a state dict that is saved then looks like a model's.
    return {key: np.asarray(array.T if _is_linear(key, array) else array, order="C") for key, array in arrays.items()}


def _transposed_line(arrays):
    return f"transposed: {sum(_is_linear(*item) for item in arrays.items())} weights of Linear layers"


def _lines(*lines):
    return [line for applies, line in lines if applies]


def _check_indices(indices, file):
    """Refuse an index that is not in the official order: the columns of `rel_pos` would mean other offsets."""
    for key, index in indices.items():
        ws = round(index.size**0.25)
        official = relative_position_index(ws).reshape([1 + ws * ws, -1])[1:, 1:]  # without the regional token
        if not np.array_equal(index.ravel(), official.ravel()):
            raise CheckpointError(f"{file}: {key} is not the official one: its 'rel_pos' would be read wrongly")
