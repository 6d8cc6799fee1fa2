"""Weights and optimizer state on disk: written whole or not at all, read without running what a file may hold."""

import re

import numpy as np
import paddle

from data import safe_pickle
from engine.errors import UserError
from engine.system import atomic
from models.names import first_name

PADDLES_NAME_TABLE = "StructuredToParameterName@@"
MASTER = "_fp32_master_0"  # what Paddle appends to the names of 16-bit weights for their float32 ones in the optimizer


class CheckpointError(UserError):
    """A file of weights cannot be read or does not fit the model."""


def save(states):
    """Write state dicts in Paddle's format, by their files: all of them, or the old ones stay.

    Raises:
        CheckpointError: the disk refuses it.
    """
    try:
        atomic.replace(
            {file: lambda path, state=state: paddle.save(state, str(path)) for file, state in states.items()}
        )
    except OSError as error:
        names = " and ".join(map(str, states))
        raise CheckpointError(f"{names} cannot be written ({error}): free some space; older files are whole") from error


def optimizer_state(optimizer, model):
    """Return an optimizer's state as arrays by the model's parameter names: `head.weight.moment1_0`.

    Paddle's own keys (`linear_9.w_0_moment1_0`), which it would save with its tensors, count the layers built so far in
    the process, and would not fit a model built in another.
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


def load_optimizer(optimizer, model, file):
    """Give an optimizer that has made no step yet, and its learning-rate schedule, a state that `optimizer_state` made.

    Returns:
        the state dict of a GradScaler, or {} if the run had none.

    Raises:
        CheckpointError: the file has not the same for each of the model's parameters.
    """
    state = load(file)
    names = {key: parameter.name for key, parameter in model.named_parameters()}
    loaded, of_each = {}, {}
    scaler = state.pop("GradScaler", {})
    for key, value in state.items():
        parameter, _, what = key.rpartition(".")
        if key == "master_weights":
            value = {names[name]: _named(weights, names[name] + MASTER) for name, weights in value.items()}
        elif parameter in names:
            of_each.setdefault(what.removeprefix(MASTER[1:] + "_"), set()).add(parameter)
            key = f"{names[parameter]}_{what}"
        elif key != "LR_Scheduler":
            raise CheckpointError(f"{file} does not fit the model: unexpected {key}")
        loaded[key] = value
    for what, parameters in of_each.items():
        if missing := [key for key in names if key not in parameters]:
            raise CheckpointError(f"{file} does not fit the model: no {what} of {listed(missing)}")
    optimizer.set_state_dict(loaded)
    return scaler


def _named(array, name):
    tensor = paddle.to_tensor(array)
    tensor.name = name  # by which Paddle finds the moments
    return tensor


def load(file):
    """Return a state dict: arrays and plain containers by name.

    Raises:
        CheckpointError: the file is missing, damaged, or holds anything else.
    """
    try:
        with open(file, "rb") as stream:
            state = safe_pickle.load(stream)
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file of weights") from None
    except OSError as error:
        raise CheckpointError(f"{file}: not readable ({error})") from error
    except safe_pickle.PickleRefused as error:
        raise CheckpointError(f"{file} {error}: not a file of Paddle weights, or damaged; get a whole one") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} holds a {type(state).__name__}, expected a state dict of arrays")
    state.pop(PADDLES_NAME_TABLE, None)
    return state


def read(file):
    """Return the arrays of a `.pdparams` file by name.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than arrays.
    """
    state = load(file)
    # Paddle 2.x writes a tensor that is no parameter as (name, array).
    state = {key: value[1] if isinstance(value, tuple) and len(value) == 2 else value for key, value in state.items()}
    wrong = [
        str(key)
        for key, value in state.items()
        if not isinstance(key, str) or not isinstance(value, np.ndarray) or value.dtype.kind != "f"
    ]
    if wrong:
        raise CheckpointError(f"{file}: {listed(wrong)}: not a name with a floating-point array: no model's weights")
    return state


def load_weights(model, file, finite=True):
    """Give a model the weights of a file, which has to have exactly the model's names and shapes.

    `proj_cls.*` is `proj.*` under a second name; a file may have it or not.

    Args:
        finite: refuse NaN and infinite values.

    Raises:
        CheckpointError: lists what is missing, unexpected or of another shape.
    """
    state = first_names(read(file), file)
    expected = dict(model.named_parameters())  # not the state dict: under amp.level O2 that holds copies
    if finite:
        check_finite(state, file)
    if problems := misfits(state, expected):
        raise CheckpointError(
            f"{file} does not fit the model: {described(problems)}; use the config that these weights are of"
        )
    assign(expected, state)


def assign(parameters, arrays):
    """Give parameters the values of the arrays under their names, in the parameters' own precision."""
    for key, parameter in parameters.items():
        parameter.set_value(paddle.to_tensor(arrays[key].astype(np.float32)).astype(parameter.dtype))


def first_names(arrays, file):
    """Return arrays with `proj_cls.*` as `proj.*`, whose second name it is.

    Raises:
        CheckpointError: both are there and differ.
    """
    state = {}
    for key, value in arrays.items():
        name = first_name(key)
        if name in state and not np.array_equal(state[name], value):
            raise CheckpointError(f"{file}: {key} and {name} are one parameter, but differ here")
        state[name] = value
    return state


def check_finite(state, file):
    """Raise a CheckpointError if there are NaN or infinite values, saying where."""
    not_finite = [key for key, value in state.items() if not np.isfinite(value.astype(np.float32)).all()]
    if not_finite:
        raise CheckpointError(f"{file}: NaN or infinite values in {listed(not_finite)}: weights of a run that diverged")


def misfits(state, expected):
    """Return the names that do not fit, by what is wrong with them; {} where all is as it should be.

    Args:
        expected: a model's parameters by name; only their shapes are looked at.
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


def described(problems):
    """Return in words what `misfits` found."""
    return "; ".join(f"{len(keys)} {problem}: {listed(keys)}" for problem, keys in problems.items())


def listed(keys, most=20):
    """Return names with commas between them, the first ones of many."""
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
