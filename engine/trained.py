"""A trained model from its file of weights: which config and class names go with it, and what it makes of pictures."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F

import data
from data import pictures

from . import build, checkpoint, config as configs
from .amp import MixedPrecision
from .errors import UserError
from .output import CONFIG, ENVIRONMENT
from .runtime import PROJECT, select_device

DEFAULT_CONFIG = PROJECT / "configs" / "tiny_cifar10.yaml"
FROM_DATA = "val:"  # how a name begins that is no file: val:7 is the config's validation picture number 7


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode on its device, with what it was loaded from."""

    model: paddle.nn.Layer
    precision: MixedPrecision
    device: str
    config: configs.Config
    weights: Path

    def class_names(self):
        """Return the names of the classes, and a line that says so where they had to be made up.

        They are noted beside the weights of a run; else the config's archive has them.
        """
        count, noted = self.config.model.num_classes, _noted_classes(self.weights.parent / ENVIRONMENT)
        if noted is not None and len(noted) == count:
            return noted, None
        if Path(self.config.data.file).exists():
            return build.build_dataset(self.config).classes, None
        why = f"neither {ENVIRONMENT} beside the weights nor {self.config.data.file} has them"
        return [f"class {i}" for i in range(count)], f"names of the classes are not known: {why}"

    def picture(self, name):
        """Return a picture as those of the data set are, uint8 [32, 32, 3].

        Args:
            name: a JPEG or PNG file, or "val:N" for the config's validation picture number N, from 0.

        Raises:
            DataError: the picture cannot be read; UserError: nor can the archive.
        """
        if not str(name).startswith(FROM_DATA):
            return pictures.to_side(pictures.read(name), data.SIDE)
        images, number = build.build_dataset(self.config).val.images, str(name).removeprefix(FROM_DATA)
        if not number.isdecimal() or int(number) >= len(images):
            raise UserError(f"{name}: expected {FROM_DATA}0 to {FROM_DATA}{len(images) - 1}")
        return images[int(number)]

    def normalised(self, images):
        """Return what the model is given for pictures uint8 [N, h, w, 3]: tensor float32 [N, 3, size, size]."""
        transform = data.evaluation_transform(self.config.data.image_size)
        return paddle.to_tensor(np.stack([transform(image) for image in images]))

    def probabilities(self, images):
        """uint8 [N, h, w, 3] -> float32 numpy [N, classes], which sum to 1."""
        with paddle.no_grad(), self.precision.autocast():
            logits = self.model(self.normalised(images))
        return F.softmax(logits.astype("float32"), axis=-1).numpy()


def find(weights, config_file, overrides):
    """Find the weights and the config they go with.

    A bare file name that is not in the current folder is looked for in the output folder of the config (or of the
    default one). Without a config, the one beside the weights is used, else the default.

    Returns:
        (path of the weights, config, a line that says what was found where or None).
    """
    weights, notes = Path(weights), []
    if not weights.exists() and weights.name == str(weights):
        folder = Path(configs.load(config_file or DEFAULT_CONFIG, overrides).output_dir)
        if (folder / weights).exists():
            weights = folder / weights
            notes.append(f"weights: {weights}")
        else:
            raise UserError(f"--weights {weights}: neither here nor in {folder}: give the path of the file")
    if config_file is None:
        beside = weights.parent / CONFIG
        config_file = beside if beside.exists() else DEFAULT_CONFIG
        notes.append(f"config: {config_file}" + ("" if beside.exists() else f" (no {CONFIG} beside the weights)"))
    return weights, configs.load(config_file, overrides), "; ".join(notes)


def load(weights, config):
    """Build a config's model on its device and give it weights from a file.

    Raises:
        UserError: the device or the weights cannot be used as the config says.
    """
    device = select_device(config.device)
    model = build.build_model(config)
    checkpoint.load_weights(model, weights)
    precision = build.build_precision(config, device)
    precision.convert(model)
    model.eval()
    return Trained(model, precision, device, config, Path(weights))


def _noted_classes(file):
    try:
        classes = json.loads(file.read_text(encoding="utf-8"))["archive"]["classes"]
    except (OSError, ValueError, KeyError, TypeError):  # an older run's, or none
        return None
    return classes if isinstance(classes, list) and all(isinstance(name, str) for name in classes) else None
