"""Weights and optimizer state on disk: written atomically, read without executing code from the file."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from common.windows import remedy
from data import safe_pickle
from engine import filenames
from engine.errors import UserError
from engine.system import atomic
from models.names import first_name

PADDLES_NAME_TABLE = "StructuredToParameterName@@"
MOMENTUM = "momentum_0"  # Muon's state of a parameter, which has no other
MASTER = "_fp32_master_0"  # Paddle's suffix for the float32 copies of 16-bit weights in the optimizer


class CheckpointError(UserError):
    """A file of weights cannot be read or written, or does not fit the model. `key` is the first name that is wrong."""


def save(states: Mapping[Path, Any]) -> None:
    """Write state dicts by file in Paddle's format: all of them, or the old files stay.

    Raises:
        CheckpointError: the disk refused.
    """
    try:
        atomic.replace({file: _writer(state) for file, state in states.items()})
    except OSError as error:
        names = " and ".join(map(str, states))
        raise CheckpointError(
            f"{names} cannot be written ({error}): {remedy(error)}; older files are whole", place=next(iter(states))
        ) from error


def _writer(state: Any) -> Callable[[Path], object]:
    return lambda path: paddle.save(state, str(path))


def optimizer_state(optimizer: Any, model: nn.Layer) -> dict[str, Any]:
    """Return an optimizer's state as arrays keyed by the model's parameter names: `head.weight.moment1_0`.

    Paddle's own keys (`linear_9.w_0_moment1_0`) count the layers built so far in the process, so they do not fit
    a model built in another process.
    """
    names = {parameter.name: key for key, parameter in model.named_parameters()}
    state = {}
    for key, value in optimizer.state_dict().items():
        of_parameter = re.fullmatch(r"(.+\.[wb]_\d+)_(.+)", key)
        if key == "master_weights":  # of amp.level O2, in float32
            value = {names[name]: weights.numpy() for name, weights in value.items()}
        elif isinstance(value, paddle.Tensor):
            value = value.numpy()
        state[f"{names[of_parameter[1]]}.{of_parameter[2]}" if of_parameter else key] = value
    return state


def load_optimizer(optimizer: Any, model: nn.Layer, file: str | Path) -> dict:
    """Load a state made by `optimizer_state` into an optimizer before its first step, and into its schedule.

    Returns:
        the state dict of a GradScaler, or {} if the run had none.

    Raises:
        CheckpointError: the file does not fit the model's parameters.
    """
    state = load(file)
    _widen(state, model)
    names = {key: parameter.name for key, parameter in model.named_parameters()}
    loaded: dict[str, Any] = {}
    parameters_with: dict[str, set[str]] = {}  # by kind of state, as moment1_0
    scaler = state.pop("GradScaler", {})
    for key, value in state.items():
        parameter, _, kind = key.rpartition(".")
        if key == "master_weights":
            value = {names[name]: _named(weights, names[name] + MASTER) for name, weights in value.items()}
        elif parameter in names:
            parameters_with.setdefault(kind.removeprefix(MASTER[1:] + "_"), set()).add(parameter)
            key = f"{names[parameter]}_{kind}"
        elif key != "LR_Scheduler":
            raise CheckpointError(f"{file} does not fit the model: unexpected {key}", key=key, place=file)
        loaded[key] = value
    with_momentum = parameters_with.pop(MOMENTUM, set())
    for kind, parameters in parameters_with.items():
        if missing := [key for key in names if key not in parameters | with_momentum]:
            raise CheckpointError(
                f"{file} does not fit the model: no {kind} of {listed(missing)}", key=f"{missing[0]}.{kind}", place=file
            )
    optimizer.set_state_dict(loaded)
    return scaler


def _widen(state: dict[str, Any], model: nn.Layer) -> None:
    """Give float32 parameters the float32 copies that an optimizer state has of them, and rename their moments.

    At amp.level O2, `rel_pos` and depth-wise kernels had 16 bits up to 0.2.0; at O0 nothing has.
    """
    masters, prefix = state.get("master_weights", {}), MASTER[1:] + "_"
    wide = {key: weights for key, weights in model.named_parameters() if weights.dtype == paddle.float32}
    copies = {key: masters.pop(key) for key in list(masters) if key in wide}
    assign({key: wide[key] for key in copies}, copies)
    for key in list(state):
        parameter, _, kind = key.rpartition(".")
        if parameter in copies:
            state[f"{parameter}.{kind.removeprefix(prefix)}"] = state.pop(key)
    if "master_weights" in state and not masters:
        del state["master_weights"]


def _named(array: np.ndarray, name: str) -> paddle.Tensor:
    tensor = paddle.to_tensor(array)
    tensor.name = name  # Paddle finds the moments by this name
    return tensor


def load(file: str | Path) -> dict[str, Any]:
    """Return a state dict: arrays and plain containers by name.

    Raises:
        CheckpointError: the file is missing, damaged, or contains other objects.
    """
    try:
        with open(file, "rb") as stream:
            state = safe_pickle.load(stream)
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file of weights", place=file) from None
    except OSError as error:
        if Path(file).is_dir():  # Windows says that it is not permitted
            raise CheckpointError(f"{file}: a folder: {give_one_of(files_in(file))}", place=file) from None
        raise CheckpointError(f"{file}: not readable ({error})", place=file) from error
    except safe_pickle.PickleRefused as error:
        raise CheckpointError(
            f"{file} {error}: not a file of Paddle weights, or damaged; get a whole one", place=file
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{file} holds a {type(state).__name__}, expected a state dict of arrays",
            value=type(state).__name__,
            place=file,
        )
    state.pop(PADDLES_NAME_TABLE, None)
    return state


def files_in(folder: str | Path) -> list[Path]:
    """Return the files of weights in a folder, a run's best ones first.

    Without any, return those of its checkpoints, newest first.
    """
    found, best = sorted(Path(folder).glob("*.pdparams")), Path(folder) / filenames.model(filenames.BEST)
    below = "" if Path(folder).name == filenames.CHECKPOINTS else f"{filenames.CHECKPOINTS}/"
    checkpoints = sorted(Path(folder).glob(f"{below}[!.]*/{filenames.WEIGHTS}"), reverse=True)
    return sorted(found, key=lambda file: file != best) or checkpoints


def give_one_of(files: list[Path]) -> str:
    """Return words that say which file of weights to give instead of a folder."""
    return f"give a file of weights in it: {listed(list(map(str, files)), 4)}" if files else "give a file of weights"


def read(file: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a `.pdparams` file by name.

    Raises:
        CheckpointError: the file is missing, damaged, or contains anything but arrays.
    """
    state = load(file)
    # Paddle 2.x writes tensors that are not parameters as (name, array).
    state = {key: value[1] if isinstance(value, tuple) and len(value) == 2 else value for key, value in state.items()}
    wrong = [
        str(key)
        for key, value in state.items()
        if not isinstance(key, str) or not isinstance(value, np.ndarray) or value.dtype.kind != "f"
    ]
    if wrong:
        raise CheckpointError(
            f"{file}: {listed(wrong)}: expected a name with a floating-point array: not the weights of a model",
            key=wrong[0],
            place=file,
        )
    return state


def load_weights(model: nn.Layer, file: str | Path, finite: bool = True) -> None:
    """Load the weights of a file, which must have exactly the model's names and shapes.

    `proj_cls.*` is a second name of `proj.*` and may be missing.

    Args:
        finite: reject NaN and infinite values.

    Raises:
        CheckpointError: lists what is missing, unexpected or of another shape. The model is unchanged then.
    """
    fill(model, first_names(read(file), file), file, finite)


def fill(model: nn.Layer, state: Mapping[str, np.ndarray], file: str | Path, finite: bool = True) -> None:
    """Set a model's parameters to arrays that have exactly their names and shapes; see `load_weights`.

    Args:
        file: the file's name in error messages.
    """
    expected = dict(model.named_parameters())  # not the state dict, which holds copies at amp.level O2
    if finite:
        check_finite(state, file)
    if problems := misfits(state, expected):
        raise CheckpointError(
            f"{file} does not fit the model: {described(problems)}; use the config of the run that made these weights",
            key=first_key(problems),
            place=file,
        )
    assign(expected, state)


def assign(parameters: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Set parameters to the arrays of the same names, converted to each parameter's dtype."""
    for key, parameter in parameters.items():
        parameter.set_value(paddle.to_tensor(arrays[key].astype(np.float32)).astype(parameter.dtype))


def first_names(arrays: Mapping[str, np.ndarray], file: object) -> dict[str, np.ndarray]:
    """Return arrays with `proj_cls.*` renamed to `proj.*`, the first name of the same parameter.

    Raises:
        CheckpointError: a file has both, and they differ.
    """
    state: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        name = first_name(key)
        if name in state and not np.array_equal(state[name], value):
            raise CheckpointError(f"{file}: {key} and {name} are one parameter, but differ here", key=key, place=file)
        state[name] = value
    return state


def check_finite(state: Mapping[str, np.ndarray], file: object) -> None:
    """Raise a CheckpointError that lists arrays with NaN or infinite values, if there are any."""
    not_finite = [key for key, value in state.items() if not np.isfinite(value.astype(np.float32)).all()]
    if not_finite:
        raise CheckpointError(
            f"{file}: NaN or infinite values in {listed(not_finite)}: weights of a run that diverged",
            key=not_finite[0],
            place=file,
        )


def misfits(state: Mapping[str, np.ndarray], expected: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names that do not fit, by kind of problem; {} if all fit.

    Args:
        expected: a model's parameters by name; only their shapes matter.
    """
    problems = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {list(state[key].shape)} (model: {list(expected[key].shape)})"
            for key in expected
            if key in state and list(state[key].shape) != list(expected[key].shape)
        ],
    }
    return {problem: keys for problem, keys in problems.items() if keys}


def described(problems: Mapping[str, list[str]]) -> str:
    """Return the result of `misfits` in words."""
    return "; ".join(f"{len(keys)} {problem}: {listed(keys)}" for problem, keys in problems.items())


def first_key(problems: Mapping[str, list[str]]) -> str:
    """Return the first name in the result of `misfits`."""
    return next(iter(problems.values()))[0].partition(" ")[0]


def listed(keys: list[str], most: int = 20) -> str:
    """Return names separated by commas, only the first of many."""
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
