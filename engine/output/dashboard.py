"""The VisualDL dashboard of a run: scalars, samples, histograms, hyper-parameters and texts in one record file."""

import contextlib
import io
import math
import os
import re
from pathlib import Path

import numpy as np

from engine import filenames
from engine.system.atomic import size

LAYOUT = 2  # what is shown under which name; an older run's file is not gone on with
BUCKETS = 30  # of a histogram
# Columns of the history and their charts. VisualDL groups charts by what stands before the first slash, sorts the
# groups, and opens on the first: losses and accuracies, side by side.
SCALARS = {
    "loss": "curves/loss/{split}",
    "top1": "curves/top1/{split}",
    "lr": "optimizer/lr",
    "gradient_norm": "optimizer/gradient_norm",
    "ips": "performance/ips/{split}",
    "reader_cost": "performance/reader_cost",
    "gpu_memory": "performance/gpu_memory_MB",
}
METRICS = [SCALARS[name].format(split="val") for name in ("top1", "loss")]  # in the table of hyper-parameters


class Dashboard:
    """The record file below a run's output folder; what is written goes on in it where it was left.

    Args:
        folder: the run's output folder.
        position: where to go on, as `position()` gave it, or None; what the file has after it is cut off. If the file
            is not what it was then, a new one is begun.
        points: those of the history, for a new file.
        config, provenance: flat dicts of plain values. A config that has changed is told in a new text; the table of
            hyper-parameters shows the one that the file began with.
    """

    def __init__(self, folder, position, points, config, provenance):
        self._writer, goes_on = _open(folder / filenames.DASHBOARD, position)
        self._config = config
        if not goes_on:
            self._add_hparams(config)
            self._add_text("config", config, 0)
            self._add_text("provenance", provenance, 0)
            for point in points:
                self.point(point)
        elif position["config"] != config:
            self._add_text("config", config, points[-1].step if points else 0)

    def position(self):
        """Return how far the file has come, on disk."""
        self._writer.flush()
        file = Path(self._writer.file_name)
        return {"file": file.name, "bytes": size(file), "layout": LAYOUT, "config": self._config}

    def point(self, point):
        """Show a point of the history; what is not a finite number the browser could not draw."""
        for name, tag in SCALARS.items():
            value, of_both = getattr(point, name), "{split}" in tag
            if (of_both or point.split == "train") and math.isfinite(value):
                self._writer.add_scalar(tag.format(split=point.split), value, point.step)

    def picture(self, name, image, step):
        """Show a picture, uint8 [H, W, 3]."""
        self._writer.add_image(name, image, step)

    def histograms(self, model, step):
        """Show how a model's parameters and the gradients of the step before are spread, in a group for each stage."""
        for name, weights in model.named_parameters():
            stage, rest = re.fullmatch(r"(layers\.\d+|\w+)\.(.+)", name).groups()
            for kind, tensor in (("parameters", weights), ("gradients", weights.grad)):
                values = None if tensor is None else tensor.astype("float32").numpy().ravel()
                if values is not None and np.isfinite(values).all():
                    self._writer.add_histogram(f"{stage} {kind}/{rest}", values, step, buckets=BUCKETS)

    def close(self):
        self._writer.close()

    def _add_hparams(self, config):
        # VisualDL takes numbers and text only, and its table shows nothing under a name with a dot.
        plain = {
            key.replace(".", "/"): value if type(value) in (int, float) else str(value) for key, value in config.items()
        }
        self._writer.add_hparams(plain, METRICS)

    def _add_text(self, name, values, step):
        # VisualDL's page runs lines together, so they are told apart by a sign.
        self._writer.add_text(name, " · ".join(f"{key}: {value}" for key, value in values.items()), step)


def _open(folder, position):
    """Return a writer, and whether it goes on in the position's file; VisualDL shows only the newest of a folder."""
    from visualdl import LogWriter  # takes a second to import

    file = folder / position["file"] if position else None
    if file is None or position.get("layout") != LAYOUT or size(file) < position["bytes"]:
        return LogWriter(logdir=str(folder)), False
    os.truncate(file, position["bytes"])
    with contextlib.redirect_stdout(io.StringIO()):  # it tells that the file exists
        return LogWriter(logdir=str(folder), file_name=file.name), True
