"""The VisualDL dashboard of a run: scalars, samples, histograms, hyper-parameters and texts in one record file."""

import contextlib
import io
import math
import os
import re
import struct
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from paddle import nn

from engine import filenames
from engine.history import Point
from engine.system.atomic import size

LAYOUT = 2  # the version of tags and their contents; a file with another one is not continued
BUCKETS = 30  # of a histogram
TIMING = "performance/"  # tags whose values differ each time
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
# Validation begins with an empty point: VisualDL's page looks for new charts only when it is loaded.
BEGUN = [SCALARS[name].format(split="val") for name in ("loss", "top1", "cross_entropy")]
# The table of hyper-parameters shows the last point that VisualDL's server keeps of a tag, which is not always the
# newest once there are more than 1,000. These have a point only where the best epoch so far ends.
BEST = {"top1": "val/best", "loss": "val/loss"}
# Its columns. A name must be short: VisualDL's page of parallel coordinates cuts one that is wider than its column (50
# pixels at the least) letter by letter and adds three dots each time, without an end.
HPARAMS = {
    "model": "model.name",
    "data": "data.name",
    "size": "data.image_size",
    "batch": "data.batch_size",
    "epochs": "train.epochs",
    "lr": "optimizer.learning_rate",
    "decay": "optimizer.weight_decay",
    "optim": "optimizer.name",
    "smooth": "loss.label_smoothing",
    "seed": "train.seed",
}


class _Record(NamedTuple):
    """What identifies a record of the file; `value` is that of a scalar, in float32."""

    offset: int
    tag: str
    step: int
    value: float | None


class Dashboard:
    """The record file below a run's output folder; a resumed run continues its file.

    Args:
        folder: the run's output folder.
        position: continue there, as `position()` returned it, or None. What a killed run wrote after it stays, as
            an open VisualDL has read it, and is not written again, while the resumed run writes the same; from the
            first difference on it is cut off. If the file is shorter than that, or has another layout, a new file is
            begun.
        points: the points of the history, for a new file.
        config, provenance: flat dicts of plain values. A changed config appears as a new text; the table of
            hyper-parameters keeps the config that the file began with.

    Attributes:
        cut: records were cut off, or a new file was begun: an open VisualDL misses points until it is restarted.
    """

    def __init__(
        self, folder: Path, position: dict[str, Any] | None, points: list[Point], config: dict, provenance: dict
    ):
        resumed = position is not None
        self._config, self._best = config, -math.inf
        self._writer, position, self._ahead, self.cut = _open(folder / filenames.DASHBOARD, position, config)
        if position is None:
            self.cut = resumed
            self._add_hparams(config)
            self._add_text("config", config, 0)
            self._add_text("provenance", provenance, 0)
            for tag in BEGUN:
                self._writer.add_scalar(tag, math.nan, 0)
            for point in points:
                self.point(point)
            return
        self._best = max((point.top1 for point in points if point.split == "val"), default=-math.inf)
        if position["config"] != config:
            self._add_text("config", config, points[-1].step if points else 0)

    def position(self) -> dict[str, Any]:
        """Return the position up to which the file is written on disk."""
        self._writer.flush()
        file = Path(self._writer.file_name)
        written = self._ahead[0].offset if self._ahead else size(file)
        return {"file": file.name, "bytes": written, "layout": LAYOUT, "config": self._config}

    def point(self, point: Point) -> None:
        """Show a point of the history, without the values that are not finite: a browser cannot draw these."""
        for name, tag in SCALARS.items():
            value, both_splits = getattr(point, name), "{split}" in tag
            if (both_splits or point.split == "train") and math.isfinite(value):
                self._scalar(tag.format(split=point.split), value, point.step)
        if point.split == "val" and point.top1 > self._best:
            self._best = point.top1
            for name, tag in BEST.items():
                self._scalar(tag, getattr(point, name), point.step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Show a picture, uint8 [H, W, 3]."""
        if not self._is_there(name, step):
            self._writer.add_image(name, image, step)

    def histograms(self, model: nn.Layer, step: int) -> None:
        """Show histograms of a model's parameters and of the last step's gradients, grouped by stage."""
        for name, weights in model.named_parameters():
            stage, rest = re.findall(r"^(layers\.\d+|\w+)\.(.+)$", name)[0]
            for kind, tensor in (("parameters", weights), ("gradients", weights.grad)):
                values = None if tensor is None else tensor.astype("float32").numpy().ravel()
                tag = f"{stage} {kind}/{rest}"
                if values is not None and np.isfinite(values).all() and not self._is_there(tag, step):
                    self._writer.add_histogram(tag, values, step, buckets=BUCKETS)

    def close(self) -> None:
        self._writer.close()

    def _scalar(self, tag: str, value: float, step: int) -> None:
        if not self._is_there(tag, step, value):
            self._writer.add_scalar(tag, value, step)

    def _is_there(self, tag: str, step: int, value: float | None = None) -> bool:
        """Return whether the file's next record after the checkpoint is this one; if there is another, cut it off."""
        if not self._ahead:
            return False
        there = self._ahead[0]
        same = value is None or there.value == np.float32(value) or tag.startswith(TIMING)
        if (there.tag, there.step) == (tag, step) and same:
            self._ahead.popleft()
            return True
        self._writer.flush()
        os.truncate(self._writer.file_name, there.offset)
        self._ahead.clear()
        self.cut = True
        return False

    def _add_hparams(self, config: dict) -> None:
        self._writer.add_hparams(
            {name: config[key] for name, key in HPARAMS.items() if key in config}, [*BEST.values()]
        )

    def _add_text(self, name: str, values: dict, step: int) -> None:
        # VisualDL's page joins lines, so a sign separates them.
        self._writer.add_text(name, " · ".join(f"{key}: {value}" for key, value in values.items()), step)


def _open(
    folder: Path, position: dict[str, Any] | None, config: dict
) -> tuple[Any, dict[str, Any] | None, deque[_Record], bool]:
    """Return a writer, the position if it continues in that file, what is there beyond, and whether some was cut off.

    VisualDL shows only a folder's newest file.
    """
    from visualdl import LogWriter  # takes a second to import

    if not position or position.get("layout") != LAYOUT or size(folder / position["file"]) < position["bytes"]:
        return LogWriter(logdir=str(folder)), None, deque(), False
    file, end = folder / position["file"], position["bytes"]
    ahead: deque[_Record] = deque()
    if position["config"] == config:
        ahead, end = _records(file, position["bytes"])
    cut = end < size(file)
    os.truncate(file, end)
    with contextlib.redirect_stdout(io.StringIO()):  # VisualDL prints that the file exists
        return LogWriter(logdir=str(folder), file_name=file.name), position, ahead, cut


def _records(file: Path, offset: int) -> tuple[deque[_Record], int]:
    """Return the records from an offset on, and where the last whole one ends.

    Each is its length, in eight bytes, and a message of VisualDL's.
    """
    from google.protobuf.message import DecodeError
    from visualdl.proto import record_pb2

    found: deque[_Record] = deque()
    with open(file, "rb") as stream:
        stream.seek(offset)
        while len(head := stream.read(8)) == 8:
            (length,) = struct.unpack("<Q", head)
            if offset + 8 + length > size(file):
                break
            try:
                value = record_pb2.Record.FromString(stream.read(length)).values[0]
            except (DecodeError, IndexError):  # a disk that was full leaves half records
                break
            if value.WhichOneof("one_value") != "meta_data":  # one per writer
                number = value.value if value.WhichOneof("one_value") == "value" else None
                found.append(_Record(offset, value.tag, value.id, number))
            offset += 8 + length
    return found, offset
