"""Weights that a new run starts from instead of random ones: those of another run, or official ones."""

import os

from engine.errors import UserError
from engine.system import processes
from engine.system.atomic import sha256sum
from engine.weights import pdparams, resample
from engine.weights.pdparams import CheckpointError

HEAD = ("head.weight", "head.bias")


def start(model, file, resampling=False):
    """Give a new model the weights of a file; "" leaves it as it is.

    A head for another number of classes, or none in the file, leaves the model's own freshly initialised.

    Args:
        resampling: take weights of another window size, or without PEG, too; see `resample.fit`.

    Returns:
        lines that tell what became of the weights, and what to note of where they come from.

    Raises:
        UserError: the file is missing or damaged, or does not fit; lists what. The model is then what it was.
    """
    if not file:
        if resampling:
            raise UserError("train.pretrained_resample: true, but no weights to resample: give train.pretrained=FILE")
        return [], {}
    if not os.path.exists(file):
        raise UserError(
            f"train.pretrained: {file}: no such file of weights: official ones are made into one by "
            "tools/convert_weights.py (see the README)"
        )
    checksum = sha256sum(file) if os.path.isfile(file) else None
    try:
        notes = _load(model, file, resampling)
    except CheckpointError as error:
        raise CheckpointError(f"train.pretrained: {error}") from error
    if checksum != sha256sum(file):
        raise UserError(f"train.pretrained: {file} was replaced while it was read: try again")
    if not processes.agree(int(checksum[:15], 16)):
        raise UserError(f"train.pretrained: {file} is not the same for all processes of this run: copy one to all")
    return notes, {"pretrained_sha256": checksum}


def _load(model, file, resampling):
    arrays, expected = pdparams.first_names(pdparams.read(file), file), dict(model.named_parameters())
    pdparams.check_finite(arrays, file)
    lines = [f"Weights: those in {file}"]
    if reason := _why_a_new_head(arrays, expected, file):
        lines.append(f"{', '.join(HEAD)}: newly initialised: {reason}")
        for key in HEAD:
            arrays.pop(key, None)
            del expected[key]
    fitted, what_was_done = resample.fit(arrays, expected)
    if resampling:
        arrays = fitted
        lines += what_was_done
    if problems := pdparams.misfits(arrays, expected):
        hint = "" if pdparams.misfits(fitted, expected) else ", or train.pretrained_resample=true: then they fit"
        raise CheckpointError(
            f"{file} does not fit the model: {pdparams.described(problems)}; "
            f"use the config that these weights are of{hint}"
        )
    pdparams.assign(expected, arrays)
    return lines


def _why_a_new_head(arrays, expected, file):
    weight, bias = (arrays[key].shape if key in arrays else None for key in HEAD)
    width, classes = expected[HEAD[0]].shape
    if weight is None and bias is None:
        return f"not in {file}"
    if bias and weight == (width, *bias) and bias != (classes,):
        return f"{bias[0]} classes in {file}, {classes} here"
    return None
