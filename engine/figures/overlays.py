"""Figures of shares laid over a square picture: rows of panels, each with its scale below it."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

COLOURS, OPACITY = "viridis", 0.7
FADED = (-128, 383)  # black and white of a picture below shares, far apart: it has to show through, not to darken them
INCHES = 2.1  # a panel's width
UNITS = {"share": lambda x: f"{_short(100 * x)} %", "times": lambda x: f"{_short(x)} x even"}


@dataclass(frozen=True, eq=False)
class Panel:
    """Shares laid over a picture, or with `values` None the picture alone.

    values: numpy [rows, columns]; edges: (y, x) of their cells in pixels; top: the upper end of the scale, from 0.
    view: edges (y, x) of the part that is shown, None for all of it; box: edges (y, x) of what is outlined.
    label: stands to the left. unit: a key of UNITS.
    """

    title: str
    values: np.ndarray | None = None
    edges: tuple = ()
    top: float = 1.0
    unit: str = "share"
    view: tuple | None = None
    box: tuple | None = None
    label: str = ""


def draw(picture, side, rows, title):
    """Draw rows of panels over a square picture, uint8 [h, w, 3], of side x side pixels; return the figure."""
    columns = max(map(len, rows))
    figure = Figure(figsize=(INCHES * columns, (INCHES + 0.6) * len(rows) + 0.5), dpi=100, layout="compressed")
    figure.suptitle(title, fontsize=10, parse_math=False)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for panels, line in zip(rows, grid, strict=True):
        for axes in line[len(panels) :]:
            axes.remove()
        for panel, axes in zip(panels, line, strict=False):
            _draw_panel(figure, axes, panel, picture, side)
    return figure


def _draw_panel(figure, axes, panel, picture, side):
    bare = panel.values is None
    below, (black, white) = (picture, (0, 255)) if bare else (picture.mean(axis=2), FADED)
    axes.imshow(below, extent=(0, side, side, 0), cmap="gray", vmin=black, vmax=white, interpolation="nearest")
    if not bare:
        highest = panel.top or 1.0  # any, where all is 0
        y, x = panel.edges
        shares = axes.pcolormesh(x, y, panel.values, cmap=COLOURS, vmin=0, vmax=highest, alpha=OPACITY)
        bar = figure.colorbar(shares, ax=axes, location="bottom", ticks=[0, highest], shrink=0.9, aspect=16, pad=0.03)
        bar.ax.set_xticklabels(["0", UNITS[panel.unit](highest)], fontsize=7)
        bar.ax.tick_params(length=2)
        bar.ax.set_facecolor("gray")  # what the picture is on average
    if panel.box is not None:
        (top, bottom), (left, right) = panel.box
        outline = Rectangle((left, top), right - left, bottom - top, fill=False, color="white", linewidth=1.5)
        outline.set_path_effects([withStroke(linewidth=3, foreground="black")])
        axes.add_patch(outline).set_clip_on(False)  # whole at the edge of the picture, too
    y, x = panel.view or ((0, side), (0, side))
    axes.set(xlim=(x[0], x[-1]), ylim=(y[-1], y[0]), xticks=[], yticks=[], facecolor="lightgrey")
    axes.set_anchor("N")
    axes.set_title(panel.title, fontsize=8)
    axes.set_ylabel(panel.label, fontsize=8)


def _short(number):
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
