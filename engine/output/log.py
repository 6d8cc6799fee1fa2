"""The records of a run: the log, `history.csv` with its curves, and the dashboard."""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from paddle import nn
from tqdm.auto import tqdm

from common.windows import remedy
from engine import filenames
from engine.figures import curves as plots
from engine.history import History, Point
from engine.output.dashboard import Dashboard
from engine.system.atomic import size
from engine.system.terminal import has_progress_bar, reader_is_gone

STEP = logging.INFO - 5  # the level of lines about single steps, which a progress bar replaces on the console


class Records:
    """The records of one run in its folder; a context manager that closes them.

    Args:
        folder: the run's output folder.
        config, provenance: flat dicts of plain values, for the dashboard.
        position: continue there, as `position()` returned it; anything written after it is cut off.
    """

    def __init__(self, folder: Path, config: dict, provenance: dict, position: dict[str, Any] | None = None):
        position = position or {"points": [], "log": 0, "dashboard": None}
        self.folder = Path(folder)
        self._history = History(self.folder, [Point(*row) for row in position["points"]])
        self._dashboard = Dashboard(self.folder, position["dashboard"], self._history.points, config, provenance)
        _cut(self.folder / filenames.LOG, position["log"])
        self._logger = logging.getLogger(f"regionvit.{self.folder.resolve()}")
        self._logger.setLevel(STEP)
        self._logger.propagate = False
        file, console = _File(self.folder / filenames.LOG, "a", encoding="utf-8"), _Console()
        file.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%Y/%m/%d %H:%M:%S"))
        console.setLevel(logging.INFO if has_progress_bar() else STEP)
        self._logger.handlers = [file, console]

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *exception: object) -> None:
        self._dashboard.close()
        for handler in self._logger.handlers:
            handler.close()
        self._logger.handlers = []

    def position(self) -> dict[str, Any]:
        """Return the position up to which records are written, for a checkpoint."""
        return {
            "points": [dataclasses.astuple(point) for point in self._history.points],
            "log": size(self.folder / filenames.LOG),
            "dashboard": self._dashboard.position(),
        }

    def info(self, line: str) -> None:
        """Write a line to the log and the console."""
        self._logger.info(line)

    def warn(self, line: str) -> None:
        """Write a warning to the log and the console."""
        self._logger.warning(f"WARNING: {line}")

    def step(self, line: str) -> None:
        """Write the line of a step to the log, and to the console if there is no progress bar."""
        self._logger.log(STEP, line)

    def point(self, point: Point) -> None:
        """Add a point to the history and the dashboard."""
        with self._warning_of(filenames.HISTORY):
            self._history.append(point)
        self._dashboard.point(point)
        self.mention_cut()

    def mention_cut(self) -> None:
        """Say once if the dashboard's file does not continue as an open VisualDL has read it."""
        if self._dashboard.cut:
            self._dashboard.cut = False
            self.info("The dashboard's file was cut back: if VisualDL is open, restart it, or points are missing there")

    def curves(self) -> None:
        """Draw the history as learning curves."""
        with self._warning_of("the learning curves"):
            plots.plot_curves(self._history.points, self.folder)

    def picture(self, name: str, figure: Figure, step: int) -> None:
        """Show a figure on the dashboard."""
        self._dashboard.picture(name, plots.as_image(figure), step)

    def histograms(self, model: nn.Layer, step: int) -> None:
        """Show histograms of a model's parameters and their gradients on the dashboard."""
        self._dashboard.histograms(model, step)

    @contextlib.contextmanager
    def _warning_of(self, content: str) -> Iterator[None]:
        """A context in which a disk that refuses is only a warning: the run matters more than its records."""
        try:
            yield
        except OSError as error:
            self.warn(f"{content} cannot be written ({error}): {remedy(error)}; the next write includes all of it")


class NoRecords:
    """Stands in for `Records` in the processes of a run that write nothing."""

    def _nothing(self, *values: Any) -> None:
        pass

    def position(self) -> dict[str, Any]:
        return {}

    info = warn = step = point = curves = picture = histograms = mention_cut = _nothing


def _cut(file: Path, length: int) -> None:
    if size(file) > length:
        os.truncate(file, length)


class _File(logging.FileHandler):
    def close(self) -> None:
        try:
            super().close()
        except OSError:  # buffered lines that could not be written before either
            pass

    def handleError(self, record: logging.LogRecord) -> None:
        print(f"WARNING: {self.baseFilename} cannot be written ({sys.exc_info()[1]})", file=sys.stderr)


class _Console(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except OSError as error:
            if not reader_is_gone(error):
                raise
            # The log continues in its file.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
