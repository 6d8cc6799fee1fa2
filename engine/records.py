"""What a run leaves to read: the log, `history.csv` with its curves, and the VisualDL dashboard."""

import contextlib
import dataclasses
import io
import logging
import os
import sys
from pathlib import Path

from tqdm import tqdm

from . import plots
from .history import HISTORY, History, Point

LOG = "train.log"
DASHBOARD = "vdl"
STEP = logging.INFO - 5  # lines of single steps: on the console only where no progress bar stands for them


def has_progress_bar():
    """Whether a person looks on: else plain lines take the bar's place."""
    return sys.stdout.isatty() and sys.stderr.isatty()


class Records:
    """The records of one run in its folder; a context manager that closes them.

    Args:
        folder: the run's output folder.
        hparams: a flat dict for the dashboard's table.
        position: go on from there, as `position()` gave it; what was written after it is cut off.
    """

    def __init__(self, folder, hparams, position=None):
        position = position or {"points": [], "log": 0, "dashboard": None}
        self.folder = Path(folder)
        self._history = History(self.folder, [Point(*row) for row in position["points"]])
        self._dashboard, whole = _open_dashboard(self.folder / DASHBOARD, position["dashboard"])
        if not whole:
            self._add_hparams(hparams)
            for point in self._history.points:
                self._show(point)
        _cut(self.folder / LOG, position["log"])
        self._logger = logging.getLogger(f"regionvit.{self.folder.resolve()}")
        self._logger.setLevel(STEP)
        self._logger.propagate = False
        file, console = _File(self.folder / LOG, "a", encoding="utf-8"), _Console()
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
        self._dashboard.flush()
        dashboard = Path(self._dashboard.file_name)
        return {
            "points": [dataclasses.astuple(point) for point in self._history.points],
            "log": _size(self.folder / LOG),
            "dashboard": {"file": dashboard.name, "bytes": _size(dashboard)},
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
        with self._going_on(HISTORY):
            self._history.append(point)
        self._show(point)

    def curves(self):
        """Draw the history."""
        with self._going_on("the learning curves"):
            plots.plot_curves(self._history.points, self.folder)

    def picture(self, name, image, step):
        """Show a picture, uint8 [H, W, 3], on the dashboard."""
        self._dashboard.add_image(name, image, step)

    def _show(self, point):
        for tag, value in (("loss", point.loss), ("top1", point.top1), ("throughput", point.ips)):
            self._dashboard.add_scalar(f"{tag}/{point.split}", value, point.step)
        if point.split == "train":
            self._dashboard.add_scalar("lr", point.lr, point.step)

    def _add_hparams(self, hparams):
        # VisualDL takes numbers and text only, and its table shows nothing under a name with a dot.
        plain = {
            key.replace(".", "/"): value if type(value) in (int, float) else str(value)
            for key, value in hparams.items()
        }
        self._dashboard.add_hparams(plain, ["top1/val", "loss/val"])

    @contextlib.contextmanager
    def _going_on(self, what):
        try:
            yield
        except OSError as error:
            self.warn(f"{what} cannot be written ({error}): free some space; the next time writes all of it")


class NoRecords:
    """In the place of `Records` for the processes of a run that write nothing."""

    folder = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def _nothing(self, *values):
        pass

    info = warn = step = point = curves = picture = _nothing


def _open_dashboard(folder, position):
    """Return a writer, and whether it goes on in the position's file; VisualDL shows only the newest of a folder."""
    from visualdl import LogWriter  # takes a second to import

    file = folder / position["file"] if position else None
    if file is None or _size(file) < position["bytes"]:
        return LogWriter(logdir=str(folder)), False
    os.truncate(file, position["bytes"])
    with contextlib.redirect_stdout(io.StringIO()):  # it tells that the file exists
        return LogWriter(logdir=str(folder), file_name=file.name), True


def _cut(file, size):
    if _size(file) > size:
        os.truncate(file, size)


def _size(file):
    return file.stat().st_size if file.exists() else 0


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
