"""Starting a new run from existing weights: those of another run, or official ones."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from paddle import nn

from engine.errors import UserError
from engine.system import processes
from engine.system.atomic import sha256sum
from engine.weights import pdparams, resample
from engine.weights.pdparams import CheckpointError

HEAD = ("head.weight", "head.bias")


def start(model: nn.Layer, file: str, resampling: bool = False) -> tuple[list[str], dict[str, Any]]:
    """Load the weights of a file into a new model; "" loads nothing.

    The model keeps its own newly initialized head if the file has none or one for another number of classes.

    Args:
        resampling: accept weights of another window size or without PEG; see `resample.fit`.

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
    try:
        notes = _load(model, file, resampling)
    except CheckpointError as error:
        raise CheckpointError(f"train.pretrained: {error}", **_fields(file)) from error
    if checksum != sha256sum(file):
        raise UserError(f"train.pretrained: {file} was replaced while it was read: try again", **_fields(file))
    if not processes.agree(int(checksum[:15], 16)):
        raise UserError(
            f"train.pretrained: {file} is not the same for all processes of this run: give all the same file",
            **_fields(file),
        )
    return notes, {"pretrained_sha256": checksum}


def _fields(file: str) -> dict[str, Any]:
    return {"key": "train.pretrained", "value": file, "place": file}


def _load(model: nn.Layer, file: str, resampling: bool) -> list[str]:
    arrays, expected = pdparams.first_names(pdparams.read(file), file), dict(model.named_parameters())
    pdparams.check_finite(arrays, file)
    lines = [f"Weights: from {file}"]
    if reason := _why_a_new_head(arrays, expected, file):
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
