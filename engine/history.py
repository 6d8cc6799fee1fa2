"""The history of a run, `history.csv`: one row per recorded measurement."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import filenames
from engine.errors import UserError
from engine.system import atomic


@dataclass(frozen=True)
class Point:
    """One row of the history.

    Attributes:
        step: optimizer steps made before the measurement.
        split: `train` (loss of one step, accuracy of the epoch so far; of mixed batches, if any, where the label with
            the larger share counts) or `val` (means over the whole split).
        top1: a fraction.
        ips: pictures per second.
        reader_cost: seconds per step spent waiting for batches. This and the next two are NaN (an empty cell) for
            `val`.
        gradient_norm: of the step, over all parameters.
        gpu_memory: peak so far, in MB.
        cross_entropy: of `val`, without the label smoothing that `loss` has; NaN for `train`.
    """

    step: int
    epoch: int
    split: str
    lr: float
    loss: float
    top1: float
    ips: float
    reader_cost: float = math.nan
    gradient_norm: float = math.nan
    gpu_memory: float = math.nan
    cross_entropy: float = math.nan


FIELDS = dataclasses.fields(Point)
COLUMNS = [item.name for item in FIELDS]


def read_history(file: str | Path) -> list[Point]:
    """Return the points of a `history.csv` in order; in older files the columns that one split lacks may be missing.

    Raises:
        UserError: the file is missing, damaged, or not a history.
    """
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            if absent := [item.name for item in FIELDS if _required(item) and item.name not in (rows.fieldnames or [])]:
                raise ValueError(f"missing column: {', '.join(absent)}")
            points = [Point(**{item.name: _read(item, row) for item in FIELDS}) for row in rows]
        if any(point.split == "val" and min(point.step, point.epoch) < 1 for point in points):
            raise ValueError("validation before the first step or epoch")
        return points
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}: expected the output folder of a run", place=file) from error
    except (TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: not a history of this project, or damaged ({error})", place=file) from error


def last_of_each_epoch(points: Iterable[Point]) -> list[Point]:
    """Return the last point of each epoch, whose accuracy covers the whole epoch."""
    return list({point.epoch: point for point in points}.values())


class History:
    """The points of a run, and their file, which starts with the given `points`."""

    def __init__(self, folder: str | Path, points: Iterable[Point] = ()):
        self.file, self.points = Path(folder) / filenames.HISTORY, list(points)
        self._whole = False  # whether the file holds all points
        self._rewrite()

    def append(self, point: Point) -> None:
        """Add a point.

        Raises:
            OSError: the point could not be written. It is kept, and the next call writes all points again.
        """
        self.points.append(point)
        if self._whole:
            self._whole = False
            with open(self.file, "a", newline="", encoding="utf-8") as stream:
                stream.write(_rows([_cells(point)]))
            self._whole = True
        else:
            self._rewrite()

    def _rewrite(self) -> None:
        self._whole = False
        atomic.replace_text(self.file, _rows([COLUMNS, *map(_cells, self.points)]))
        self._whole = True


def _required(item: dataclasses.Field) -> bool:
    return item.default is dataclasses.MISSING


def _read(item: dataclasses.Field, row: dict) -> Any:
    kind: Any = item.type
    return kind(row[item.name] if _required(item) else row.get(item.name) or item.default)


def _cells(point: Point) -> list:
    values = zip(FIELDS, dataclasses.astuple(point), strict=True)
    return [value if _required(item) or not math.isnan(value) else "" for item, value in values]


def _rows(rows: Iterable) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
