"""The content of `preprocessing.json`: what an export takes and returns, and what it was made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.normalise import MEAN, STD
from engine.config import build
from engine.inference import program, reduced
from engine.inference.features import FeatureMaps
from engine.inference.steps import feature_steps, steps
from engine.inference.trained import Trained
from engine.system import atomic
from engine.system.environment import environment

INPUT, OUTPUT = "images", "logits"


def of_classifier(trained: Trained, format: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the description of an export in a folder that returns logits, and lines for the log."""
    config, side, size = trained.config, build.side(trained.config), trained.config.data.image_size
    (classes, unknown), count = trained.class_names(), config.model.num_classes
    (output,) = _outputs(format, folder, [OUTPUT])
    return {
        "task": program.CLASSIFICATION,
        **_of_any(trained, format, (size, size)),
        "output": {"name": output, "shape": [None, count], "dtype": "float32", "is": "before softmax"},
        "temperature": trained.temperature,
        "probabilities": "softmax(logits / temperature)",
        "preprocessing": [
            "RGB, 8 bits per channel, turned as EXIF data says, transparency over white",
            f"the middle square, reduced by area to {side} x {side} (cv2.INTER_AREA; a smaller one by INTER_LINEAR)",
            f"resized to {size} x {size} (cv2.INTER_LINEAR)",
            "divided by 255, minus mean, divided by std, channel by channel",
            "height, width, channel -> channel, height, width",
        ],
        "steps": steps(config, INPUT, output, trained.temperature),
        "side": side,
        "image_size": size,
        "mean": MEAN,
        "std": STD,
        "num_classes": count,
        "classes": None if unknown else classes,
        **_origin(trained, folder),
    }, ([unknown] if unknown else [])


def of_features(
    trained: Trained, format: str, folder: Path, size: tuple[int, int], names: Sequence[str], maps: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Return the description of an export in a folder that returns feature maps.

    Args:
        size: height and width of the pictures.
        names, maps: what the outputs are, and the model's maps of some pictures.
    """
    assert isinstance(trained.model, FeatureMaps)
    backbone, outputs = trained.model.backbone, _outputs(format, folder, names)
    return {
        "task": program.FEATURES,
        **_of_any(trained, format, size),
        "det_norm": backbone.det_norm,
        "outputs": [
            {"name": output, "shape": [None, *each.shape[1:]], "dtype": "float32", "is": name, "stride": stride}
            for output, name, each, stride in zip(outputs, names, maps, backbone.feature_strides, strict=True)
        ],
        "steps": feature_steps(size, INPUT, outputs),
        "size": size,
        "mean": MEAN,
        "std": STD,
        **_origin(trained, folder),
    }


def _outputs(format: str, folder: Path, names: Sequence[str]) -> list[str]:
    """Return the names of a program's outputs: Paddle names those of its own program, each version otherwise."""
    return list(names) if format == "onnx" else program.predictor(folder, "cpu").get_output_names()


def _of_any(trained: Trained, format: str, size: tuple[int, int]) -> dict[str, Any]:
    return {
        "format": format,
        "precision": reduced.FLOAT32,
        "model": trained.config.model.name,
        "padding_mask": trained.config.model.padding_mask,
        "input": {"name": INPUT, "shape": [None, 3, *size], "dtype": "float32"},
    }


def _origin(trained: Trained, folder: Path) -> dict[str, Any]:
    return {
        "files": {file.name: atomic.sha256sum(file) for file in sorted(folder.iterdir())},
        "made_from": {"weights": str(trained.weights), "sha256": trained.sha256, **environment(trained.device)},
    }
