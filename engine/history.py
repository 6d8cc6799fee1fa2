"""The history of a run: a point for everything measured, in `history.csv`."""

import csv
import dataclasses
import io
import math
from dataclasses import dataclass
from pathlib import Path

from engine import filenames
from engine.errors import UserError
from engine.system import atomic


@dataclass(frozen=True)
class Point:
    """One row of the history. `step` counts the optimizer steps that the measured weights have seen.

    split: `train` (the loss of one step, the accuracy of the epoch so far; of mixed pictures where batches are mixed,
    and against the label with the larger share) or `val` (means over the whole split).
    top1 is a fraction, ips pictures a second. Of training alone, else NaN (an empty cell): reader_cost, the seconds a
    step waited for its batch; gradient_norm, of that step; gpu_memory, the most that was taken so far, in MB.
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


FIELDS = dataclasses.fields(Point)
COLUMNS = [item.name for item in FIELDS]


def read_history(file):
    """Return the points of a `history.csv` in their order; an older one may lack the columns of training alone.

    Raises:
        UserError: it cannot be read, is damaged, or no history.
    """
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            if absent := [item.name for item in FIELDS if _required(item) and item.name not in (rows.fieldnames or [])]:
                raise ValueError(f"no column {', '.join(absent)}")
            points = [Point(**{item.name: _read(item, row) for item in FIELDS}) for row in rows]
        if any(point.split == "val" and min(point.step, point.epoch) < 1 for point in points):
            raise ValueError("a validation before the first step or epoch")
        return points
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}: give the output folder of a run") from error
    except (TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: not a history of this project, or a damaged one ({error})") from error


def last_of_each_epoch(points):
    """Return each epoch's last point, at which its accuracy is whole."""
    return list({point.epoch: point for point in points}.values())


class History:
    """The points of a run, and their file, which is written anew from `points` at the start."""

    def __init__(self, folder, points=()):
        self.file, self.points = Path(folder) / filenames.HISTORY, list(points)
        self._rewrite()

    def append(self, point):
        """Add a point.

        Raises:
            OSError: it could not be written; it is kept, and the next call tries to write all of them.
        """
        self.points.append(point)
        if self._whole:
            self._whole = False
            with open(self.file, "a", newline="", encoding="utf-8") as stream:
                stream.write(_rows([_cells(point)]))
            self._whole = True
        else:
            self._rewrite()

    def _rewrite(self):
        self._whole = False
        atomic.replace_text(self.file, _rows([COLUMNS, *map(_cells, self.points)]))
        self._whole = True


def _required(item):
    return item.default is dataclasses.MISSING


def _read(item, row):
    return item.type(row[item.name] if _required(item) else row.get(item.name) or item.default)


def _cells(point):
    values = zip(FIELDS, dataclasses.astuple(point), strict=True)
    return [value if _required(item) or not math.isnan(value) else "" for item, value in values]


def _rows(rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
