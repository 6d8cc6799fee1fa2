"""What a run leaves to read: the log, `history.csv` and the VisualDL dashboard."""

import csv
import dataclasses
import logging
import os
import sys
from pathlib import Path

from tqdm import tqdm

from . import plots
from .history import COLUMNS, HISTORY

LOG = "train.log"
DASHBOARD = "vdl"
STEP = logging.INFO - 5  # lines of single steps: on the console only where no progress bar stands for them


def has_progress_bar():
    """Whether a person looks on: else plain lines take the bar's place."""
    return sys.stdout.isatty() and sys.stderr.isatty()


class Records:
    """The records of one run in its folder; a context manager that closes them."""

    def __init__(self, folder, hparams):
        from visualdl import LogWriter  # takes a second to import

        self.folder = Path(folder)
        self._history = open(self.folder / HISTORY, "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._rows = csv.writer(self._history)
        self._rows.writerow(COLUMNS)
        self._dashboard = LogWriter(logdir=str(self.folder / DASHBOARD))
        # VisualDL takes numbers and text only, and its table shows nothing under a name with a dot.
        plain = {
            key.replace(".", "/"): value if type(value) in (int, float) else str(value)
            for key, value in hparams.items()
        }
        self._dashboard.add_hparams(plain, ["top1/val", "loss/val"])
        self._logger = logging.getLogger(f"regionvit.{self.folder.resolve()}")
        self._logger.setLevel(STEP)
        self._logger.propagate = False
        file, console = logging.FileHandler(self.folder / LOG, "w", encoding="utf-8"), _Console()
        file.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%Y/%m/%d %H:%M:%S"))
        console.setLevel(logging.INFO if has_progress_bar() else STEP)
        self._logger.handlers = [file, console]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._history.close()
        self._dashboard.close()
        for handler in self._logger.handlers:
            handler.close()
        self._logger.handlers = []

    def info(self, line):
        """Write a line into the log and onto the console."""
        self._logger.info(line)

    def step(self, line):
        """Write the line of a step into the log, and onto the console where there is no progress bar."""
        self._logger.log(STEP, line)

    def point(self, point):
        """Add a point to the history and the dashboard."""
        self._rows.writerow(dataclasses.astuple(point))
        self._history.flush()
        for tag, value in (("loss", point.loss), ("top1", point.top1), ("throughput", point.ips)):
            self._dashboard.add_scalar(f"{tag}/{point.split}", value, point.step)
        if point.split == "train":
            self._dashboard.add_scalar("lr", point.lr, point.step)

    def curves(self):
        """Draw the history."""
        plots.plot_curves(self.folder / HISTORY, self.folder)

    def picture(self, name, image, step):
        """Show a picture, uint8 [H, W, 3], on the dashboard."""
        self._dashboard.add_image(name, image, step)


class NoRecords:
    """In the place of `Records` for the processes of a run that write nothing."""

    folder = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def _nothing(self, *values):
        pass

    info = step = point = curves = picture = _nothing


class _Console(logging.Handler):
    def emit(self, record):
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read along has gone; the log goes on in its file
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
