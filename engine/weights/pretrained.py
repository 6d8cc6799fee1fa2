"""Starting a new run from existing weights: those of another run, or official ones."""

import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from paddle import nn

from engine import filenames
from engine.errors import UserError
from engine.system import processes
from engine.system.atomic import sha256sum
from engine.weights import pdparams, resample
from engine.weights.classes import noted_classes
from engine.weights.pdparams import CheckpointError

HEAD = ("head.weight", "head.bias")


def start(
    model: nn.Layer, file: str, resampling: bool = False, classes: Sequence[str] | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Load the weights of a file into a new model; "" loads nothing.

    The model keeps its own newly initialized head if the file has none or one for other classes. Classes in another
    order are brought into the model's. Where the file's classes are not known, only their number is compared.

    Args:
        resampling: accept weights of another window size or without PEG; see `resample.fit`.
        classes: the names of the model's classes; without them only their number is compared.

    Returns:
        lines for the log, and the origin of the weights for `environment.json`.

    Raises:
        UserError: the file is missing, damaged or does not fit the model, which is unchanged then.
    """
    if not file:
        if resampling:
            raise UserError(
                "train.pretrained_resample: true, but no weights to resample: set train.pretrained=FILE",
                key="train.pretrained_resample",
                value=True,
            )
        return [], {}
    if not os.path.exists(file):
        raise UserError(
            f"train.pretrained: {file}: no such file of weights; tools/convert_weights.py converts official weights",
            **_fields(file),
        )
    checksum = sha256sum(file) if os.path.isfile(file) else ""
    noted = noted_classes(file)
    try:
        notes = _load(model, file, resampling, classes, noted)
    except CheckpointError as error:
        raise CheckpointError(f"train.pretrained: {error}", **_fields(file)) from error
    if checksum != sha256sum(file):
        raise UserError(f"train.pretrained: {file} was replaced while it was read: try again", **_fields(file))
    if not processes.agree(int(checksum[:15], 16), zlib.crc32("\n".join(noted or []).encode(errors="replace"))):
        raise UserError(
            f"train.pretrained: {file}, or {filenames.ENVIRONMENT} beside it, is not the same for all processes: "
            "give all the same file",
            **_fields(file),
        )
    return notes, {"pretrained_sha256": checksum}


def _fields(file: str) -> dict[str, Any]:
    return {"key": "train.pretrained", "value": file, "place": file}


def _load(
    model: nn.Layer, file: str, resampling: bool, classes: Sequence[str] | None, noted: list[str] | None
) -> list[str]:
    arrays, expected = pdparams.first_names(pdparams.read(file), file), dict(model.named_parameters())
    pdparams.check_finite(arrays, file)
    lines = [f"Weights: from {file}"]
    reason = _why_a_new_head(arrays, expected, file)
    if not reason and classes is not None and all(key in arrays for key in HEAD):
        reason, line = _compare_classes(arrays, file, list(classes), noted)
        lines += [line] if line else []
    if reason:
        lines.append(f"{', '.join(HEAD)}: newly initialized: {reason}")
        for key in HEAD:
            arrays.pop(key, None)
            del expected[key]
    fitted, resampled_lines = resample.fit(arrays, expected)
    if resampling:
        arrays = fitted
        lines += resampled_lines
    if problems := pdparams.misfits(arrays, expected):
        hint = "" if pdparams.misfits(fitted, expected) else ", or train.pretrained_resample=true, which makes them fit"
        raise CheckpointError(
            f"{file} does not fit the model: {pdparams.described(problems)}; "
            f"use the config of the run that made these weights{hint}",
            key=pdparams.first_key(problems),
            place=file,
        )
    pdparams.assign(expected, arrays)
    return lines


def _why_a_new_head(arrays: Mapping[str, np.ndarray], expected: Mapping[str, Any], file: str) -> str | None:
    weight, bias = (arrays[key].shape if key in arrays else None for key in HEAD)
    width, classes = expected[HEAD[0]].shape
    if weight is None and bias is None:
        return f"not in {file}"
    if bias and weight == (width, *bias) and bias != (classes,):
        return f"{bias[0]} classes in {file}, {classes} here"
    return None


def _compare_classes(
    arrays: dict[str, np.ndarray], file: str, classes: list[str], noted: list[str] | None
) -> tuple[str | None, str | None]:
    """Bring a head into the order of the model's classes; return (why it has to be a new one, a line for the log)."""
    kept = f"{', '.join(HEAD)}: kept"
    if noted is None or len(noted) != arrays["head.bias"].size:
        return None, f"{kept}, but the names of its classes are not known: {filenames.ENVIRONMENT} beside it lacks them"
    if noted == classes:
        return None, f"{kept}: for the same classes"
    if sorted(noted) == sorted(classes) and len(set(noted)) == len(noted):
        order = [noted.index(name) for name in classes]
        arrays |= {key: arrays[key][..., order] for key in HEAD}
        return None, f"{kept}: for the same classes, brought from their order in {file} into that of the data"
    old, new = (pdparams.listed(names, most=5) for names in (noted, classes))
    return f"for other classes: {old} in {file}, {new} here", None
