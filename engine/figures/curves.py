"""Learning curves, and how figures become pictures and PNGs."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from engine import filenames
from engine.history import Point, last_of_each_epoch
from engine.system import atomic

CURVES = {"loss": "CE Loss", "top1": "Accuracy"}
COLOURS = {"train": "red", "val": "cyan"}
NAMES = {"train": "train", "val": "validation"}
WHY_BELOW = "train: on augmented pictures, by the model as it was at each step; so it can look worse than validation"


def plot_curves(points: Sequence[Point], folder: str | Path) -> list[Path]:
    """Draw the learning curves of a history as PNGs in a folder; return the files, each whole."""
    drawn = draw_curves(points)
    pngs = {Path(folder) / filenames.CURVES[name]: as_png(figure) for name, figure in drawn.items()}
    atomic.replace_contents(pngs)
    return list(pngs)


def draw_curves(
    points: Sequence[Point],
    titles: Mapping[str, str] = CURVES,
    colours: Mapping[str, str] = COLOURS,
    size: tuple[float, float] = (8, 5),
    note: str = WHY_BELOW,
) -> dict[str, Figure]:
    """Draw loss and accuracy of a history over steps and epochs; return the figures by the history's column.

    The defaults are the notebook's look; `size` is in inches, and `note` stands below.
    """
    figures = {}
    for quantity, title in titles.items():
        figure = figures[quantity] = Figure(figsize=size, dpi=120, layout="constrained")
        figure.supxlabel(note, fontsize=8, color="dimgrey")
        axes = figure.add_subplot()
        for split, colour in colours.items():
            shown = [point for point in points if point.split == split]
            if quantity == "top1":
                shown = last_of_each_epoch(shown)
            axes.plot(
                [point.step for point in shown],
                [getattr(point, quantity) for point in shown],
                color=colour,
                linewidth=1 if split == "train" else 2,
                marker="o" if split == "val" or len(shown) == 1 else None,  # one point makes no line
                markersize=4,
                label=NAMES[split],
            )
        axes.set(title=title, xlabel="step", ylabel=title)
        axes.grid(alpha=0.3)
        axes.legend()
        _add_epochs(axes, points)
    return figures


def _add_epochs(axes: Any, points: Sequence[Point]) -> None:
    """Add a second x axis in epochs. The points of validation mark where epochs end."""
    ends = [point for point in points if point.split == "val"]
    if ends:
        steps = ends[0].step / ends[0].epoch
        top = axes.secondary_xaxis("top", functions=(lambda step: step / steps, lambda epoch: epoch * steps))
        top.set_xlabel("epoch")
        top.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))


def as_image(figure: Figure) -> np.ndarray:
    """Render a figure: -> uint8 [H, W, 3]."""
    canvas = FigureCanvasAgg(figure)
    with _any_letters():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def as_png(figure: Figure, **options: Any) -> bytes:
    """Render a figure as a PNG, with options of matplotlib's `savefig`."""
    stream = io.BytesIO()
    with _any_letters():
        figure.savefig(stream, format="png", **options)
    return stream.getvalue()


@contextlib.contextmanager
def _any_letters() -> Iterator[None]:
    """Silence matplotlib's warnings about letters that its font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield
