"""A trained model from its weights or export: which config and class names go with it, what it makes of pictures."""

import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F

import data
from common.errors import InputError
from data import pictures
from engine import filenames
from engine.config import build
from engine.config.load import load_config
from engine.config.options import Config
from engine.errors import UserError
from engine.inference import program
from engine.system.atomic import sha256sum
from engine.system.device import select_device
from engine.system.environment import PROJECT
from engine.system.precision import MixedPrecision
from engine.weights import pdparams

DEFAULT_CONFIG = PROJECT / "configs" / "tiny_cifar10.yaml"
FROM_DATA = "val:"  # how a name begins that is no file: val:7 is the config's validation picture number 7, from 0


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode on its device, with what it was loaded from."""

    model: paddle.nn.Layer
    precision: MixedPrecision
    device: str
    config: Config
    weights: Path
    sha256: str  # of the weights
    noted_classes: list[str] | None  # beside the weights
    runtime: str = "Paddle"  # what runs it, for people

    @cached_property
    def dataset(self):
        """The config's data set, of which only `val` is needed; UserError if it cannot be used."""
        return build.build_dataset(self.config, val_only=True)

    def class_names(self):
        """Return the names of the classes, and a line that says so where they had to be made up.

        They are noted beside the weights of a run; else the config's data has them.
        """
        count, noted = self.config.model.num_classes, self.noted_classes
        if noted is not None and len(noted) == count:
            return noted, None
        why = f"neither {filenames.ENVIRONMENT} beside the weights nor {self.config.data.file} has them"
        if os.path.exists(self.config.data.file):
            try:
                return self.dataset.classes, None
            except InputError as error:  # predictions are worth as much without it
                why = f"no {filenames.ENVIRONMENT} beside the weights has them, and {error}"
        return [f"class {i}" for i in range(count)], f"names of the classes are not known: {why}"

    def picture(self, name):
        """Return a picture as those of the data set are, uint8 [side, side, 3].

        Args:
            name: a JPEG or PNG file, or "val:N" for the config's validation picture number N, from 0; a file that has
                such a name comes first.

        Raises:
            PictureError: there is no such picture, or it cannot be read; DataError: the data set cannot be read.
        """
        if not str(name).startswith(FROM_DATA) or os.path.exists(name):
            return pictures.to_side(pictures.read(name), build.side(self.config))
        images, number = self.dataset.val.images, str(name).removeprefix(FROM_DATA)
        if not re.fullmatch("[0-9]{1,9}", number) or int(number) >= len(images):
            raise pictures.PictureError(
                f"{name}: no such picture, expected {FROM_DATA}0 to {FROM_DATA}{len(images) - 1}"
            )
        return images[int(number)]

    def normalised(self, images):
        """Return what evaluation gives the model for pictures uint8 [N, h, w, 3]: tensor float32 [N, 3, size, size].

        The pipelines round differently where they resize, so it is the config's that makes them.
        """
        loader = data.build_eval_loader(
            data.Split("pictures", images, np.zeros(len(images), np.int64)),
            batch_size=len(images),
            image_size=self.config.data.image_size,
            num_workers=0,
            pipeline=self.config.data.pipeline,
        )
        ((batch, _),) = loader
        return batch

    def probabilities(self, images):
        """uint8 [N, h, w, 3] -> float32 numpy [N, classes], which sum to 1; UserError as `check` has it."""
        with paddle.no_grad(), self.precision.autocast():
            logits = self.model(self.normalised(images))
        return self.check(F.softmax(logits.astype("float32"), axis=-1).numpy())

    def check(self, probabilities):
        """Return probabilities, all of which have to be numbers; UserError if not."""
        if not np.isfinite(probabilities).all():
            raise UserError(f"{self.weights}: the model gives NaN: weights of a run that diverged")
        return probabilities


def find(weights, config_file, overrides):
    """Find the weights and the config they go with.

    A bare file name that is not in the current folder is looked for in the output folder of the config (or of the
    default one). Without a config, the one beside the weights is used, else the default.

    Returns:
        (path of the weights, config, a line that says what was found where or None).
    """
    weights, notes = Path(weights), []
    if not weights.exists() and weights.name == str(weights):
        folder = Path(load_config(config_file or DEFAULT_CONFIG, overrides).output_dir)
        if (folder / weights).exists():
            weights = folder / weights
            notes.append(f"weights: {weights}")
        else:
            raise UserError(f"--weights {weights}: neither here nor in {folder}: give the path of the file")
    weights = program.weights_in(weights)
    if config_file is None:
        beside = weights.parent / filenames.CONFIG
        config_file = beside if beside.exists() else DEFAULT_CONFIG
        notes.append(
            f"config: {config_file}" + ("" if beside.exists() else f" (no {filenames.CONFIG} beside the weights)")
        )
    return weights, load_config(config_file, overrides), "; ".join(notes)


def load(weights, config):
    """Build a config's model on its device and give it weights from a file; or have an export in its place.

    Raises:
        UserError: the device, the weights or the export cannot be used as the config says.
    """
    weights = Path(weights)
    if program.is_export(weights):
        return _load_export(weights, config)
    device = select_device(config.device)
    model = build.build_model(config)
    digest = sha256sum(weights) if weights.is_file() else None
    pdparams.load_weights(model, weights)
    if digest != sha256sum(weights):  # a run has put better ones in their place
        raise UserError(f"{weights}: replaced by others while it was read: try again")
    precision = build.build_precision(config, device)
    precision.convert(model)
    model.eval()
    return Trained(
        model, precision, device, config, weights, digest, _noted_classes(weights.parent / filenames.ENVIRONMENT)
    )


def _load_export(weights, config):
    description = program.describe(weights)
    for key, wanted, has in (
        ("model.name", config.model.name, description["model"]),
        ("model.num_classes", config.model.num_classes, description["num_classes"]),
        ("model.padding_mask", config.model.padding_mask, description["padding_mask"]),
        ("data.image_size", config.data.image_size, description["image_size"]),
        ("data.side", build.side(config), description["side"]),
        ("amp.level", config.amp.level, "O0"),
    ):
        if wanted != has:
            raise UserError(f"{key}: {wanted}, but {weights} was exported with {has}: give the config it came with")
    device = select_device(program.device_for(description["format"], config.device))
    model = program.Exported(weights.parent, description, device)
    model.eval()
    return Trained(
        model,
        MixedPrecision(device=device),
        device,
        config,
        weights,
        sha256=description["files"][weights.name],
        noted_classes=description["classes"],
        runtime=program.NAMES[description["format"]],
    )


def _noted_classes(file):
    try:
        classes = json.loads(file.read_text(encoding="utf-8"))["archive"]["classes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # an older run's, damaged, or none
        return None
    return classes if isinstance(classes, list) and all(isinstance(name, str) for name in classes) else None
