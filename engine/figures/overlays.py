"""Figures of values laid over a square picture: rows of panels, each with its scale below it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

COLOURS, OPACITY = "viridis", 0.7
FADED = (-128, 383)  # black and white of a picture under values: low contrast, so that it does not darken them
OUTSIDE = 211  # the gray around a picture, matplotlib's lightgrey
INCHES = 2.1  # the width of a panel
UNITS = {"share": lambda x: f"{_short(100 * x)} %", "times": lambda x: f"{_short(x)} x even"}


@dataclass(frozen=True, eq=False)
class Panel:
    """Values laid over a picture, or the picture alone.

    Attributes:
        values: [rows, columns], None for the picture alone.
        edges: (y, x), where the cells of the values begin and end, in pixels.
        top: the upper end of the scale, which begins at 0.
        unit: a key of UNITS.
        view: (y, x), the edges of the part that is shown, None for the whole picture.
        box: (y, x), the edges of the outlined part.
        label: the text to the left.
    """

    title: str
    values: np.ndarray | None = None
    edges: Sequence[np.ndarray] = ()
    top: float = 1.0
    unit: str = "share"
    view: Sequence[np.ndarray] | None = None
    box: Sequence[np.ndarray] | None = None
    label: str = ""


def draw(picture: np.ndarray, side: int, rows: Sequence[Sequence[Panel]], title: str) -> Figure:
    """Draw rows of panels over a square picture, uint8 [h, w, 3], stretched to side x side pixels."""
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


def _draw_panel(figure: Figure, axes: Any, panel: Panel, picture: np.ndarray, side: int) -> None:
    bare = panel.values is None
    below, (black, white) = (picture, (0, 255)) if bare else (picture.mean(axis=2), FADED)
    axes.imshow(below, extent=(0, side, side, 0), cmap="gray", vmin=black, vmax=white, interpolation="nearest")
    if not bare:
        highest = panel.top or 1.0  # any scale will do if all values are 0
        y, x = panel.edges
        shares = axes.pcolormesh(x, y, panel.values, cmap=COLOURS, vmin=0, vmax=highest, alpha=OPACITY)
        bar = figure.colorbar(shares, ax=axes, location="bottom", ticks=[0, highest], shrink=0.9, aspect=16, pad=0.03)
        bar.ax.set_xticklabels(["0", UNITS[panel.unit](highest)], fontsize=7)
        bar.ax.tick_params(length=2)
        bar.ax.set_facecolor("gray")  # the mean of the picture
    if panel.box is not None:
        (top, bottom), (left, right) = panel.box
        outline = Rectangle((left, top), right - left, bottom - top, fill=False, color="white", linewidth=1.5)
        outline.set_path_effects([withStroke(linewidth=3, foreground="black")])
        axes.add_patch(outline).set_clip_on(False)  # not cut off at the edge of the picture
    y, x = panel.view or [np.array([0, side])] * 2
    axes.set(xlim=(x[0], x[-1]), ylim=(y[-1], y[0]), xticks=[], yticks=[], facecolor="lightgrey")
    axes.set_anchor("N")
    axes.set_title(panel.title, fontsize=8)
    axes.set_ylabel(panel.label, fontsize=8)


def as_pixels(panel: Panel, picture: np.ndarray, side: int, size: int) -> np.ndarray:
    """Draw a panel without its words and scale, as `draw` does but in milliseconds: uint8 [size, size, 3].

    Args:
        picture, side: as in `draw`.
    """
    y, x = panel.view or [np.array([0, side])] * 2
    centers = [edges[0] + (np.arange(size) + 0.5) * (edges[-1] - edges[0]) / size for edges in (y, x)]
    i, j = ((np.minimum(at, side - 1) * n / side).astype(int) for at, n in zip(centers, picture.shape, strict=False))
    pixels = picture[np.ix_(i, j)].astype("float64")
    if panel.values is not None:
        black, white = FADED
        pixels[:] = (255 * (pixels.mean(axis=2, keepdims=True) - black) / (white - black)).clip(0, 255)
    pixels[np.logical_or.outer(*(at >= side for at in centers))] = OUTSIDE
    if panel.values is not None:
        i, j = (np.searchsorted(edges, at, "right") - 1 for edges, at in zip(panel.edges, centers, strict=True))
        shares = panel.values[np.ix_(i, j)] / (panel.top or 1.0)
        pixels += OPACITY * (255 * colormaps[COLOURS](shares)[..., :3] - pixels)
    drawn = np.ascontiguousarray(pixels.round().astype(np.uint8))
    if panel.box is not None:
        (top, bottom), (left, right) = ((each * size / side).round().astype(int).tolist() for each in panel.box)
        for color, thickness in ((0, 5), (255, 3)):
            cv2.rectangle(drawn, (left + 1, top + 1), (right - 2, bottom - 2), [color] * 3, thickness)
    return drawn


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
