"""Conversion of weights between the official names and shapes (torch) and Paddle's; it does not need torch.

The weight of a Linear layer is [out, in] in torch and [in, out] in Paddle; all other arrays are the same in both. The
official code has one module under two names, `proj` and `proj_cls`, and its state dicts contain both.
Source: IBM/RegionViT, `regionvit/regionvit.py` and `regionvit/attention/`. There `rel_pos_index` is a plain attribute;
it is accepted here because a modified copy may have registered it as a buffer.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from engine.weights.pdparams import CheckpointError, check_finite, described, first_key, first_names, listed, misfits
from models import VARIANTS, build_model
from models.windows import relative_position_index

PREFIX = "module."  # of DataParallel
INDEX = ".rel_pos_index"
SHARED, SECOND_NAME = ".block.0.proj.", ".block.0.proj_cls."


def to_paddle(arrays: Mapping[str, np.ndarray], file: object) -> tuple[dict[str, np.ndarray], list[str]]:
    """Convert the arrays of a torch state dict to Paddle's names and shapes.

    Args:
        arrays: by name, with or without `module.` and `proj_cls`.
        file: the file's name in error messages.

    Returns:
        arrays by name, and lines for the log.

    Raises:
        CheckpointError: contradictory names, an integer array, or a `rel_pos_index` in another order.
    """
    state = {key.removeprefix(PREFIX): array for key, array in arrays.items()}
    if len(state) != len(arrays):
        twice = [key for key in arrays if PREFIX + key in arrays]
        raise CheckpointError(
            f"{file}: {listed(twice)}: both with and without {PREFIX!r}; remove one of them", key=twice[0], place=file
        )
    indices = {key: state.pop(key) for key in list(state) if key.endswith(INDEX)}
    _check_indices(indices, file)
    if whole := [f"{key} ({array.dtype})" for key, array in state.items() if array.dtype.kind != "f"]:
        raise CheckpointError(
            f"{file}: {listed(whole)}: expected floating-point numbers: not the weights of a RegionViT",
            key=whole[0].partition(" ")[0],
            place=file,
        )
    first = first_names(state, file)
    renamed = sum(key.startswith(PREFIX) for key in arrays)
    return _transposed(first), _lines(
        (renamed, f"renamed: {renamed} keys, without {PREFIX!r}"),
        (len(state) - len(first), f"folded: {len(state) - len(first)} second names, 'proj_cls' of 'proj'"),
        (len(indices), f"dropped: {len(indices)} '{INDEX[1:]}', which the model computes itself"),
        (True, _transposed_line(first)),
    )


def to_torch(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Convert the arrays of a Paddle model to the official names and shapes.

    Args:
        arrays: by name, without `proj_cls`.

    Returns:
        arrays by name, and lines for the log.
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


def recognise(arrays: Mapping[str, np.ndarray], file: object) -> tuple[str, int]:
    """Find the variant to which arrays in Paddle's shapes belong.

    Returns:
        the variant's name and the number of classes.

    Raises:
        CheckpointError: no variant has exactly these names and shapes (the message lists the differences from the
            nearest one), or there are NaN or infinite values.
    """
    classes = next((arrays[key].shape[-1] for key in ("head.weight", "head.bias") if _has_axes(arrays, key)), 0)
    problems = {}
    for name in VARIANTS:
        problems[name] = misfits(arrays, _parameters(name, classes))
    nearest = min(problems, key=lambda name: sum(map(len, problems[name].values())))
    if problems[nearest]:
        raise CheckpointError(
            f"{file} does not hold the weights of a RegionViT; the nearest is {nearest} with {classes} classes: "
            f"{described(problems[nearest])}",
            key=first_key(problems[nearest]),
            place=file,
        )
    check_finite(arrays, file)
    return nearest, classes


@functools.cache
def _parameters(name: str, classes: int) -> dict[str, Any]:
    with paddle.LazyGuard():  # shapes without values
        return dict(build_model(name, num_classes=classes).named_parameters())


def _has_axes(arrays: Mapping[str, np.ndarray], key: str) -> bool:
    return key in arrays and arrays[key].ndim > 0


def _is_linear(key: str, array: np.ndarray) -> bool:
    return array.ndim == 2 and key.endswith(".weight")  # `rel_pos` has two axes too


def _transposed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    # In C order, whatever the order in the file, so that saved arrays are equal to a model's byte for byte.
    return {key: np.asarray(array.T if _is_linear(key, array) else array, order="C") for key, array in arrays.items()}


def _transposed_line(arrays: Mapping[str, np.ndarray]) -> str:
    return f"transposed: {sum(_is_linear(*item) for item in arrays.items())} weights of Linear layers"


def _lines(*lines: tuple[int, str]) -> list[str]:
    return [line for applies, line in lines if applies]


def _check_indices(indices: Mapping[str, np.ndarray], file: object) -> None:
    """Reject an index that is not in the official order: the columns of `rel_pos` would mean other offsets."""
    for key, index in indices.items():
        ws = round(index.size**0.25)
        official = relative_position_index(ws).reshape([1 + ws * ws, -1])[1:, 1:]  # without the regional token
        if not np.array_equal(index.ravel(), official.ravel()):
            raise CheckpointError(
                f"{file}: {key} is not in the official order: 'rel_pos' would be misread", key=key, place=file
            )
