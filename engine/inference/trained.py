"""A trained model, loaded from weights or an export, with its config and class names."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

import data
from common.division import divided
from common.errors import InputError
from data import pictures
from engine import filenames
from engine.config import build
from engine.config.load import load_config
from engine.config.options import Config
from engine.errors import UserError
from engine.inference import program
from engine.system import tf32
from engine.system.atomic import sha256sum
from engine.system.device import select_device
from engine.system.environment import PROJECT
from engine.system.precision import MixedPrecision
from engine.weights import pdparams
from engine.weights.classes import noted_classes
from engine.weights.temperature import noted_temperature

DEFAULT_CONFIG = PROJECT / "configs" / "tiny_cifar10.yaml"
FROM_DATA = "val:"  # the prefix of a picture in the data set: val:7 is validation picture 7, counted from 0


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode on its device, and the files and settings it was loaded with."""

    model: paddle.nn.Layer
    precision: MixedPrecision
    device: str
    config: Config
    weights: Path
    sha256: str  # of the weights
    noted_classes: list[str] | None  # noted beside the weights
    runtime: str = "Paddle"  # the software that runs it
    temperature: float = 1.0  # probabilities are softmax(logits / temperature)
    about_temperature: str = ""  # a line for the log: where it comes from; "" if none is noted

    @property
    def known_classes(self) -> list[str] | None:
        """The names of the model's classes as noted; None if there are none, or so many that they are another run's."""
        noted = self.noted_classes
        return noted if noted is not None and len(noted) == self.config.model.num_classes else None

    @cached_property
    def dataset(self) -> data.Dataset:
        """The config's data set, for its `val` split; DataError or UserError if it cannot be used.

        Its labels are the model's, by the names of the classes if these are known, so that it may have fewer classes or
        in another order.
        """
        return build.build_dataset(self.config, val_only=True, classes=self.known_classes, on_disk=True)

    def class_names(self) -> tuple[list[str], str | None]:
        """Return the names of the classes, and a line for the log if they had to be made up.

        A run notes them beside its weights; otherwise they come from the config's data.
        """
        if self.known_classes is not None:
            return self.known_classes, None
        why = f"neither {filenames.ENVIRONMENT} beside the weights nor {self.config.data.file} has them"
        if os.path.exists(self.config.data.file):
            try:
                return self.dataset.classes, None
            except InputError as error:  # predictions do not need the data
                why = f"no {filenames.ENVIRONMENT} beside the weights has them, and {error}"
        count = self.config.model.num_classes
        return [f"class {i}" for i in range(count)], f"names of the classes are not known: {why}"

    def picture(self, name: str | Path) -> np.ndarray:
        """Return a picture in the form of the data set's: uint8 [side, side, 3].

        Args:
            name: a picture file, or "val:N" for validation picture N of the config's data, counted from 0. If a
                file has such a name, it is the file.

        Raises:
            PictureError: the picture does not exist or cannot be read.
            DataError: the data set cannot be read.
        """
        if not str(name).startswith(FROM_DATA) or os.path.exists(name):
            return pictures.to_side(pictures.read(name), build.side(self.config))
        images, number = self.dataset.val.images, str(name).removeprefix(FROM_DATA)
        if not re.fullmatch("[0-9]{1,9}", number) or int(number) >= len(images):
            raise pictures.PictureError(
                f"{name}: no such picture, expected {FROM_DATA}0 to {FROM_DATA}{len(images) - 1}",
                key="PICTURE",
                value=str(name),
                place=self.config.data.file,
            )
        return images[int(number)]

    def normalised(self, images: np.ndarray) -> Tensor:
        """Prepare pictures as evaluation does: uint8 [N, h, w, 3] -> float32 [N, 3, size, size].

        The config's pipeline does it, because the pipelines round differently when they resize.
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

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the class probabilities of pictures: uint8 [N, h, w, 3] -> float32 [N, classes].

        Raises:
            UserError: the model outputs NaN.
        """
        with paddle.no_grad():
            logits = self.model(self.normalised(images))
        return self.check(F.softmax(divided(logits.astype("float32"), self.temperature), axis=-1).numpy())

    def check(self, outputs: np.ndarray) -> np.ndarray:
        """Return a model's outputs if they are finite, else raise UserError."""
        if not np.isfinite(outputs).all():
            raise UserError(
                f"{self.weights}: the model outputs NaN: these weights are of a run that diverged",
                key="--weights",
                value=str(self.weights),
                place=self.weights,
            )
        return outputs


def find(
    weights: str | Path, config_file: str | Path | None, overrides: Iterable[str], option: str = "--weights"
) -> tuple[Path, Config, str]:
    """Find weights and their config.

    A bare file name that is not in the current folder is looked for in the output folder of the config (or of the
    default config). Without a config, the one beside the weights is used, else the default.

    Args:
        option: what the user gave the weights by, for messages.

    Returns:
        (path of the weights, config, a line for the log or "").

    Raises:
        UserError: the weights or the config cannot be found, or the config is wrong.
    """
    path, notes = Path(weights), []
    if not path.exists() and path.name == str(path):
        folder = Path(load_config(config_file or DEFAULT_CONFIG, overrides).output_dir)
        if not (folder / path).exists():
            raise UserError(
                f"{option} {path}: neither here nor in {folder}: give the path of the file",
                key=option,
                value=str(path),
                place=folder,
            )
        path = folder / path
        notes.append(f"weights: {path}")
    if path.is_dir() and not (path / filenames.DESCRIPTION).exists() and (files := pdparams.files_in(path)):
        raise UserError(
            f"{option} {path}: a folder: {pdparams.give_one_of(files)}",
            key=option,
            value=str(path),
            place=path,
        )
    path = program.weights_in(path)
    if config_file is None:
        beside = path.parent / filenames.CONFIG
        config_file = beside if beside.exists() else DEFAULT_CONFIG
        notes.append(
            f"config: {config_file}" + ("" if beside.exists() else f" (no {filenames.CONFIG} beside the weights)")
        )
    return path, load_config(config_file, overrides), "; ".join(notes)


def load(weights: str | Path, config: Config) -> Trained:
    """Build a config's model on its device with weights from a file, or load an export.

    Raises:
        UserError: the device, the weights or the export cannot be used with this config.
    """
    path = Path(weights)
    if program.is_export(path):
        return _load_export(path, config)
    device = select_device(config.device)
    tf32.allow(config.amp.allow_tf32)
    if not config.model.num_classes:
        head = pdparams.first_names(pdparams.read(path), path).get("head.bias", np.empty(0))
        config.model.num_classes = len(head)
    model = build.build_model(config)
    with unchanged(path) as digest:
        pdparams.load_weights(model, path)
    precision = build.build_precision(config, device)
    precision.convert(model)
    model.eval()
    temperature = noted_temperature(path, digest)
    return Trained(
        model,
        precision,
        device,
        config,
        path,
        digest,
        noted_classes(path),
        temperature=temperature.value,
        about_temperature=temperature.about,
    )


@contextlib.contextmanager
def unchanged(weights: Path) -> Iterator[str]:
    """A context in which weights are read; it gives their SHA-256, and raises UserError if they were replaced."""
    digest = sha256sum(weights) if weights.is_file() else ""
    yield digest
    if digest != sha256sum(weights):  # a run has replaced them by better ones
        raise UserError(
            f"{weights}: replaced by another file while it was read: try again",
            key="--weights",
            value=str(weights),
            place=weights,
        )


def _load_export(weights: Path, config: Config) -> Trained:
    description = program.describe(weights)
    if program.task_of(description) != program.CLASSIFICATION:
        raise UserError(
            f"--weights {weights}: an export of {program.task_of(description)}, which has no classes: give the weights "
            "that it was made from, or an export of these made without --features",
            key="--weights",
            value=str(weights),
            place=weights,
        )
    config.model.num_classes = config.model.num_classes or description["num_classes"]
    for key, wanted, exported in (
        ("model.name", config.model.name, description["model"]),
        ("model.num_classes", config.model.num_classes, description["num_classes"]),
        ("model.padding_mask", config.model.padding_mask, description["padding_mask"]),
        ("data.image_size", config.data.image_size, description["image_size"]),
        ("data.side", build.side(config), description["side"]),
        ("amp.level", config.amp.level, "O0"),
    ):
        if wanted != exported:
            raise UserError(
                f"{key}: {wanted}, but {weights} was exported with {exported}: give the config beside it",
                key=key,
                value=wanted,
                place=weights,
            )
    device = select_device(program.device_for(description["format"], config.device))
    tf32.allow(config.amp.allow_tf32)
    model = program.Exported(weights.parent, description, device)
    model.eval()
    temperature = program.temperature(weights.parent, description)
    precision = program.precision_of(description)
    return Trained(
        model,
        MixedPrecision(device=device),
        device,
        config,
        weights,
        sha256=description["files"][weights.name],
        noted_classes=description["classes"],
        runtime=program.NAMES[description["format"]] + ("" if precision == "float32" else f" in {precision}"),
        temperature=temperature.value,
        about_temperature=temperature.about,
    )
