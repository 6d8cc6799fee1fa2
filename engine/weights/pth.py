"""Files of torch: state dicts read without running what a file may hold, and written whole or not at all.

Only these functions need torch, and import it: nothing else of this project has to have it.
"""

import argparse
import io
import re
import warnings
from collections import Counter

from engine.system import atomic
from engine.weights.pdparams import CheckpointError, listed

WRAPPERS = ("model", "state_dict")
TYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32")


def read(file):
    """Return the arrays of a state dict by name, plain or under `model` or `state_dict`, and lines on what was found.

    Floating-point arrays come as float32.

    Raises:
        CheckpointError: the file is missing, damaged, names code to run, or holds more than tensors.
    """
    torch = _torch()
    state, lines = _unwrapped(_load(torch, file), file)
    wrong = [str(key) for key, value in state.items() if not isinstance(key, str) or not _is_plain(torch, value)]
    if wrong or not state:
        raise CheckpointError(
            f"{file}: {listed(wrong) or 'nothing in it'}: expected names with plain tensors of numbers, "
            f"alone or under {' or '.join(map(repr, WRAPPERS))}: save model.state_dict()"
        )
    types = [_type(value) for value in state.values() if value.is_floating_point()]
    arrays = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return {key: value.detach().numpy() for key, value in arrays.items()}, lines + cast_lines(types)


def write(arrays, file):
    """Write float32 arrays as a plain state dict of contiguous tensors.

    Raises:
        CheckpointError: the disk refuses it.
    """
    torch = _torch()
    stream = io.BytesIO()  # given a file, torch turns the disk's refusals into others
    torch.save({key: torch.from_numpy(array).contiguous() for key, array in arrays.items()}, stream)
    try:
        atomic.replace({file: lambda path: path.write_bytes(stream.getbuffer())})
    except OSError as error:
        raise CheckpointError(f"{file} cannot be written ({error}): free some space, or choose another") from error


def cast_lines(types):
    """Return a line for each type of numbers that had to become float32."""
    counts = Counter(str(name) for name in types if str(name) != "float32")
    return [f"made float32: {count} arrays of {name}" for name, count in counts.items()]


def _torch():
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its libraries is missing
        raise CheckpointError(
            f".pth files need torch, which cannot be imported ({error}): pip install -r requirements/convert.txt"
        ) from error
    return torch


def _load(torch, file):
    plain = torch.serialization.safe_globals([argparse.Namespace])  # the arguments that training scripts save beside
    try:
        with open(file, "rb") as stream, plain, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(stream, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file of weights") from None
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"{file}: not readable ({error})") from error
    except Exception as error:  # damaged files raise nearly anything
        # Not in torch's words, which advise to load the file without this safety.
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{file} names {named[1]}, but only tensors and plain containers may be in it: "
                "where you trust it, load it and save its state_dict() alone"
            ) from error
        raise CheckpointError(
            f"{file}: not a file of torch weights, or damaged ({type(error).__name__}); get a whole one"
        ) from error


def _unwrapped(content, file):
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{file} holds a {type(content).__name__}, expected a state dict: save model.state_dict()"
        )
    for name in WRAPPERS:
        if isinstance(content.get(name), dict):
            rest = [str(key) for key in content if key != name]
            return content[name], [f"weights found under {name!r}" + (f"; left out: {listed(rest)}" if rest else "")]
    return content, []


def _is_plain(torch, value):
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and _type(value) in TYPES
        and value.nbytes <= value.untyped_storage().nbytes()  # not one number that stands for a terabyte of them
    )


def _type(tensor):
    return str(tensor.dtype).removeprefix("torch.")
