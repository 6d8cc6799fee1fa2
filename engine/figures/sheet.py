"""A sheet of paper to draw a diagram on: lengths in inches, from the top left corner."""

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.figures.curves import as_image
from engine.figures.fonts import width

Point = tuple[float, float]
Numbers = Sequence[float] | np.ndarray
FINGERPRINT, COLOURS = "Fingerprint", 64


class Sheet:
    """A figure that fills one sheet.

    Attributes:
        figure: what is drawn.
    """

    def __init__(self, width: float, height: float, dpi: int):
        self.figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
        self.axes: Any = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, words: str, size: float = 8, **style: Any) -> None:
        """Write words whose center is at x and whose top is at y, unless the style says otherwise."""
        if width(words) > len(words):
            style.pop("weight", None)  # few fonts for Chinese have bold letters, and matplotlib warns of those without
        elif style.get("weight"):
            style["family"] = "DejaVu Sans"
        place = {"ha": "center", "va": "top", "parse_math": False, "linespacing": 1.25, **style}
        self.axes.text(x, y, words, fontsize=size, **place)

    def rectangle(self, x: float, y: float, width: float, height: float, **style: Any) -> Rectangle:
        shape = Rectangle((x, y), width, height, **{"facecolor": "none", **style})
        self.axes.add_patch(shape)
        return shape

    def polygon(self, points: Sequence[Point], **style: Any) -> Polygon:
        shape = Polygon(points, closed=True, **style)
        self.axes.add_patch(shape)
        return shape

    def lines(self, segments: Sequence[Sequence[Point]], **style: Any) -> None:
        self.axes.add_collection(LineCollection(segments, **style), autolim=False)

    def grid(self, x: Numbers, y: Numbers, **style: Any) -> None:
        """Draw the lines between cells: vertical ones at each x, horizontal ones at each y."""
        vertical = [((at, y[0]), (at, y[-1])) for at in x]
        self.lines(vertical + [((x[0], at), (x[-1], at)) for at in y], **style)

    def arrow(self, points: Sequence[Point], color: str, head: float = 0.08) -> None:
        """Draw a line through points with a head at the last one."""
        end, before = np.array(points[-1]), np.array(points[-2])
        ahead = (end - before) / np.hypot(*(end - before)) * head
        aside = np.array([-ahead[1], ahead[0]]) / 2
        self.lines([[*points[:-1], tuple(end - ahead)]], color=color, linewidth=1.2, zorder=2)
        self.polygon([tuple(end), tuple(end - ahead + aside), tuple(end - ahead - aside)], color=color, linewidth=0)


def drawn(figure: Figure) -> list[str]:
    """Return what a figure of a sheet shows, as lines: its size, its words, its shapes to a hundredth of an inch."""
    found = [f"size {figure.get_size_inches().round(2).tolist()}"]
    for artist in figure.axes[0].get_children():
        if isinstance(artist, Text) and artist.get_text():
            found.append(f"text {_rounded(artist.get_position())} {artist.get_text()}")
        elif isinstance(artist, LineCollection):
            found += [f"line {_rounded(segment)}" for segment in artist.get_segments()]
        elif isinstance(artist, Rectangle | Polygon):
            points = artist.get_patch_transform().transform(artist.get_path().vertices)
            found.append(f"shape {_rounded(points)}")
    return found


def fingerprint(figure: Figure) -> str:
    """Return a checksum of what a figure of a sheet shows, which no version of matplotlib changes, as it may pixels."""
    return hashlib.sha256("\n".join(drawn(figure)).encode()).hexdigest()


def as_small_png(figure: Figure) -> bytes:
    """Render a figure of a sheet as a PNG of few colors, with its fingerprint in it."""
    stream, info = io.BytesIO(), PngInfo()
    info.add_text(FINGERPRINT, fingerprint(figure))
    Image.fromarray(as_image(figure)).quantize(COLOURS).save(stream, "png", optimize=True, pnginfo=info)
    return stream.getvalue()


def _rounded(points: Any) -> list[Any]:
    return (np.round(np.asarray(points, float), 2) + 0.0).tolist()  # -0 is 0
