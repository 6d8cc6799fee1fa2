"""Torch's files of weights: read without executing code from the file, written atomically.

Only this module imports torch, and only when needed; the rest of the project works without it.
"""

import argparse
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from common.windows import remedy
from engine.system import atomic
from engine.weights.pdparams import CheckpointError, listed

WRAPPERS = ("model", "state_dict")
TYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32")


def read(file: str | Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read a state dict, plain or wrapped under `model` or `state_dict`; floating-point arrays become float32.

    Returns:
        arrays by name, and lines for the log.

    Raises:
        CheckpointError: the file is missing, damaged, refers to code, or contains anything but tensors.
    """
    torch = _torch()
    state, lines = _unwrapped(_load(torch, file), file)
    wrong = [str(key) for key, value in state.items() if not isinstance(key, str) or not _is_plain(torch, value)]
    if wrong or not state:
        raise CheckpointError(
            f"{file}: {listed(wrong) or 'nothing in it'}: expected names with plain tensors of numbers, "
            f"alone or under {' or '.join(map(repr, WRAPPERS))}: save model.state_dict()",
            key=wrong[0] if wrong else None,
            place=file,
        )
    types = [_type(value) for value in state.values() if value.is_floating_point()]
    arrays = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return {key: value.detach().numpy() for key, value in arrays.items()}, lines + cast_lines(types)


def write(arrays: dict[str, np.ndarray], file: Path) -> None:
    """Write float32 arrays as a plain state dict of contiguous tensors.

    Raises:
        CheckpointError: the disk refused.
    """
    torch = _torch()
    stream = io.BytesIO()  # torch itself would not raise the disk's OSError
    torch.save({key: torch.from_numpy(array).contiguous() for key, array in arrays.items()}, stream)
    try:
        atomic.replace({file: lambda path: path.write_bytes(stream.getbuffer())})
    except OSError as error:
        raise CheckpointError(
            f"{file} cannot be written ({error}): {remedy(error)}, or choose another file", place=file
        ) from error


def cast_lines(types: Iterable) -> list[str]:
    """Return a line for the log for each type that was converted to float32."""
    counts = Counter(str(name) for name in types if str(name) != "float32")
    return [f"converted to float32: {count} arrays of {name}" for name, count in counts.items()]


def _torch() -> Any:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its libraries is missing
        raise CheckpointError(
            f".pth files need torch, which cannot be imported ({error}): pip install -r requirements/convert.txt",
            key="torch",
        ) from error
    return torch


def _load(torch: Any, file: str | Path) -> Any:
    plain = torch.serialization.safe_globals([argparse.Namespace])  # of training scripts, saved beside weights
    try:
        with open(file, "rb") as stream, plain, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(stream, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file of weights", place=file) from None
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"{file}: not readable ({error})", place=file) from error
    except Exception as error:  # damaged files raise almost any exception
        # Torch's own message is not shown: it advises loading the file without this protection.
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{file} names {named[1]}, but only tensors and plain containers are allowed: "
                "if you trust the file, load it in torch and save only its state_dict()",
                value=named[1],
                place=file,
            ) from error
        raise CheckpointError(
            f"{file}: not a file of torch weights, or damaged ({type(error).__name__}); get a whole one", place=file
        ) from error


def _unwrapped(content: Any, file: str | Path) -> tuple[dict, list[str]]:
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{file} holds a {type(content).__name__}, expected a state dict: save model.state_dict()",
            value=type(content).__name__,
            place=file,
        )
    for name in WRAPPERS:
        if isinstance(content.get(name), dict):
            rest = [str(key) for key in content if key != name]
            return content[name], [f"weights found under {name!r}" + (f"; left out: {listed(rest)}" if rest else "")]
    return content, []


def _is_plain(torch: Any, value: Any) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and _type(value) in TYPES
        and value.nbytes <= value.untyped_storage().nbytes()  # not one number expanded to a terabyte
    )


def _type(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")
