"""Figures in tests: blank ones where nobody looks at them, and how many colors a drawn one has."""

import base64
import contextlib

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

DOT = base64.b64decode(  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@contextlib.contextmanager
def blank_figures():
    """Within this context each figure is rendered as a dot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, stream, **_: stream.write(DOT))
        patch.setattr("engine.figures.curves.as_image", lambda figure: np.zeros((4, 4, 3), np.uint8))
        yield


def colours(file):
    """Return how many colors a picture has: more than a few, if something is drawn."""
    picture = cv2.imread(str(file)).astype(np.int64)
    return len(np.unique(picture @ (1, 256, 256**2)))
