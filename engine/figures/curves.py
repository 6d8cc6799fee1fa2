"""Figures without a screen: learning curves."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from engine import filenames
from engine.history import last_of_each_epoch
from engine.system import atomic

logging.getLogger("matplotlib").setLevel(logging.WARNING)  # or its first start tells of fonts

CURVES = {"loss": "CE Loss", "top1": "Accuracy"}
COLOURS = {"train": "red", "val": "cyan"}
NAMES = {"train": "train", "val": "validation"}


def plot_curves(points, folder):
    """Draw the curves of a history's points; return the PNGs written into `folder`, each whole or not at all."""
    drawn = {
        Path(folder) / filenames.CURVES[quantity]: as_png(figure) for quantity, figure in draw_curves(points).items()
    }
    atomic.replace({file: lambda path, png=png: path.write_bytes(png) for file, png in drawn.items()})
    return list(drawn)


def draw_curves(points):
    """Draw loss and accuracy over steps and epochs from a history's points: -> a figure for each, by its name."""
    figures = {}
    for quantity, title in CURVES.items():
        figure = figures[quantity] = Figure(figsize=(8, 5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        for split, colour in COLOURS.items():
            of_split = [point for point in points if point.split == split]
            if quantity == "top1":
                of_split = last_of_each_epoch(of_split)
            axes.plot(
                [point.step for point in of_split],
                [getattr(point, quantity) for point in of_split],
                color=colour,
                linewidth=1 if split == "train" else 2,
                marker="o" if split == "val" else None,
                markersize=4,
                label=NAMES[split],
            )
        axes.set(title=title, xlabel="step", ylabel=title)
        axes.grid(alpha=0.3)
        axes.legend()
        _add_epochs(axes, points)
    return figures


def _add_epochs(axes, points):
    """A second x axis in epochs: validation points lie where an epoch ends."""
    ends = [point for point in points if point.split == "val"]
    if ends:
        steps = ends[0].step / ends[0].epoch
        top = axes.secondary_xaxis("top", functions=(lambda step: step / steps, lambda epoch: epoch * steps))
        top.set_xlabel("epoch")
        top.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))


def as_image(figure):
    """Render a figure: -> uint8 [H, W, 3]."""
    canvas = FigureCanvasAgg(figure)
    with _any_letters():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def as_png(figure, **how):
    """Render a figure, `how` as matplotlib's `savefig` takes it: -> the bytes of a PNG."""
    stream = io.BytesIO()
    with _any_letters():
        figure.savefig(stream, format="png", **how)
    return stream.getvalue()


@contextlib.contextmanager
def _any_letters():
    """Within this context nothing is said of letters in names that matplotlib's font has not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield
