"""Figures without a screen: learning curves."""

import logging
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

logging.getLogger("matplotlib").setLevel(logging.WARNING)  # or its first start tells of fonts

CURVES = {"loss": "CE Loss", "top1": "Accuracy"}
FILES = {"loss": "loss.png", "top1": "accuracy.png"}
COLOURS = {"train": "red", "val": "cyan"}
NAMES = {"train": "train", "val": "validation"}


def plot_curves(points, folder):
    """Draw loss and accuracy over steps and epochs from a history's points; return the PNGs written into `folder`."""
    files = []
    for quantity, title in CURVES.items():
        figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        for split, colour in COLOURS.items():
            of_split = [point for point in points if point.split == split]
            if quantity == "top1":  # an epoch's accuracy is whole at its last point
                of_split = list({point.epoch: point for point in of_split}.values())
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
        files.append(Path(folder) / FILES[quantity])
        figure.savefig(files[-1])
    return files


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
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
