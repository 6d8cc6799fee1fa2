"""The VisualDL dashboard of a run: scalars, samples, histograms, hyper-parameters and texts in one record file."""

import contextlib
import io
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from engine import filenames
from engine.history import Point
from engine.system.atomic import size

LAYOUT = 2  # the version of tags and their contents; a file with another one is not continued
BUCKETS = 30  # of a histogram
# Columns of the history and the tags of their charts. VisualDL groups charts by the part before the first slash, sorts
# the groups, and opens on the first: losses and accuracies, side by side.
SCALARS = {
    "loss": "curves/loss/{split}",
    "top1": "curves/top1/{split}",
    "cross_entropy": "curves/cross_entropy/{split}",  # without label smoothing; of `val` only
    "lr": "optimizer/lr",
    "gradient_norm": "optimizer/gradient_norm",
    "ips": "performance/ips/{split}",
    "reader_cost": "performance/reader_cost",
    "gpu_memory": "performance/gpu_memory_MB",
}
METRICS = [SCALARS[name].format(split="val") for name in ("top1", "loss")]  # in the table of hyper-parameters


class Dashboard:
    """The record file below a run's output folder; a resumed run continues its file.

    Args:
        folder: the run's output folder.
        position: continue there, as `position()` returned it, or None; anything after it is cut off. If the file is
            shorter than that, or has another layout, a new file is begun.
        points: the points of the history, for a new file.
        config, provenance: flat dicts of plain values. A changed config appears as a new text; the table of
            hyper-parameters keeps the config that the file began with.
    """

    def __init__(
        self, folder: Path, position: dict[str, Any] | None, points: list[Point], config: dict, provenance: dict
    ):
        self._writer, position = _open(folder / filenames.DASHBOARD, position)
        self._config = config
        if position is None:
            self._add_hparams(config)
            self._add_text("config", config, 0)
            self._add_text("provenance", provenance, 0)
            for point in points:
                self.point(point)
        elif position["config"] != config:
            self._add_text("config", config, points[-1].step if points else 0)

    def position(self) -> dict[str, Any]:
        """Return the position up to which the file is written on disk."""
        self._writer.flush()
        file = Path(self._writer.file_name)
        return {"file": file.name, "bytes": size(file), "layout": LAYOUT, "config": self._config}

    def point(self, point: Point) -> None:
        """Show a point of the history, without the values that are not finite: a browser cannot draw these."""
        for name, tag in SCALARS.items():
            value, both_splits = getattr(point, name), "{split}" in tag
            if (both_splits or point.split == "train") and math.isfinite(value):
                self._writer.add_scalar(tag.format(split=point.split), value, point.step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Show a picture, uint8 [H, W, 3]."""
        self._writer.add_image(name, image, step)

    def histograms(self, model: nn.Layer, step: int) -> None:
        """Show histograms of a model's parameters and of the last step's gradients, grouped by stage."""
        for name, weights in model.named_parameters():
            stage, rest = re.findall(r"^(layers\.\d+|\w+)\.(.+)$", name)[0]
            for kind, tensor in (("parameters", weights), ("gradients", weights.grad)):
                values = None if tensor is None else tensor.astype("float32").numpy().ravel()
                if values is not None and np.isfinite(values).all():
                    self._writer.add_histogram(f"{stage} {kind}/{rest}", values, step, buckets=BUCKETS)

    def close(self) -> None:
        self._writer.close()

    def _add_hparams(self, config: dict) -> None:
        # VisualDL takes numbers and text only, and its table shows nothing under a name with a dot.
        plain = {
            key.replace(".", "/"): value if type(value) in (int, float) else str(value) for key, value in config.items()
        }
        self._writer.add_hparams(plain, METRICS)

    def _add_text(self, name: str, values: dict, step: int) -> None:
        # VisualDL's page joins lines, so a sign separates them.
        self._writer.add_text(name, " · ".join(f"{key}: {value}" for key, value in values.items()), step)


def _open(folder: Path, position: dict[str, Any] | None) -> tuple[Any, dict[str, Any] | None]:
    """Return a writer, and the position if it continues in that file: VisualDL shows only a folder's newest file."""
    from visualdl import LogWriter  # takes a second to import

    if not position or position.get("layout") != LAYOUT or size(folder / position["file"]) < position["bytes"]:
        return LogWriter(logdir=str(folder)), None
    file = folder / position["file"]
    os.truncate(file, position["bytes"])
    with contextlib.redirect_stdout(io.StringIO()):  # VisualDL prints that the file exists
        return LogWriter(logdir=str(folder), file_name=file.name), position
