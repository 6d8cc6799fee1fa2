"""What a run leaves to read: the log, `history.csv` with its curves, and the dashboard."""

import contextlib
import dataclasses
import logging
import os
import sys
from pathlib import Path

from tqdm import tqdm

from engine import filenames
from engine.figures import curves as plots
from engine.history import History, Point
from engine.output.dashboard import Dashboard
from engine.system.atomic import size
from engine.system.terminal import has_progress_bar

STEP = logging.INFO - 5  # lines of single steps: on the console only where no progress bar stands for them


class Records:
    """The records of one run in its folder; a context manager that closes them.

    Args:
        folder: the run's output folder.
        config, provenance: flat dicts of plain values, for the dashboard.
        position: go on from there, as `position()` gave it; what was written after it is cut off.
    """

    def __init__(self, folder, config, provenance, position=None):
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

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._dashboard.close()
        for handler in self._logger.handlers:
            handler.close()
        self._logger.handlers = []

    def position(self):
        """Return how far the records have come, for a checkpoint."""
        return {
            "points": [dataclasses.astuple(point) for point in self._history.points],
            "log": size(self.folder / filenames.LOG),
            "dashboard": self._dashboard.position(),
        }

    def info(self, line):
        """Write a line into the log and onto the console."""
        self._logger.info(line)

    def warn(self, line):
        """Write a line that tells of trouble."""
        self._logger.warning(f"WARNING: {line}")

    def step(self, line):
        """Write the line of a step into the log, and onto the console where there is no progress bar."""
        self._logger.log(STEP, line)

    def point(self, point):
        """Add a point to the history and the dashboard."""
        with self._going_on(filenames.HISTORY):
            self._history.append(point)
        self._dashboard.point(point)

    def curves(self):
        """Draw the history."""
        with self._going_on("the learning curves"):
            plots.plot_curves(self._history.points, self.folder)

    def picture(self, name, figure, step):
        """Show a figure on the dashboard."""
        self._dashboard.picture(name, plots.as_image(figure), step)

    def histograms(self, model, step):
        """Show how a model's parameters and their gradients are spread."""
        self._dashboard.histograms(model, step)

    @contextlib.contextmanager
    def _going_on(self, what):
        try:
            yield
        except OSError as error:
            self.warn(f"{what} cannot be written ({error}): free some space; the next time writes all of it")


class NoRecords:
    """In the place of `Records` for the processes of a run that write nothing."""

    folder = None

    def _nothing(self, *values):
        pass

    info = warn = step = point = curves = picture = histograms = _nothing


def _cut(file, length):
    if size(file) > length:
        os.truncate(file, length)


class _File(logging.FileHandler):
    def close(self):
        try:
            super().close()
        except OSError:  # what it could not write before
            pass

    def handleError(self, record):
        print(f"WARNING: {self.baseFilename} cannot be written ({sys.exc_info()[1]})", file=sys.stderr)


class _Console(logging.Handler):
    def emit(self, record):
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read along has gone; the log goes on in its file
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
