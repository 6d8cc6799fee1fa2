"""Figures in tests: blank ones where nobody looks at them, and how many colors a drawn one has."""

import base64
import contextlib

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from engine.figures import curves, predictions

DOT = base64.b64decode(  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@contextlib.contextmanager
def blank_figures():
    """Within this context nothing is drawn: each figure is empty and rendered as a dot, and its file is written.

    Real figures take six sevenths of a small run's time.
    """

    def empty(*_, **__):
        return Figure(figsize=(0.1, 0.1))

    def of_predictions(result, images, classes, **_):
        assert result.probabilities.shape == (len(images), len(classes))
        return empty()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "draw_curves", lambda *_, **__: {name: empty() for name in curves.CURVES})
        patch.setattr(curves, "as_image", lambda figure: np.zeros((4, 4, 3), np.uint8))
        patch.setattr(Figure, "savefig", lambda figure, stream, **_: stream.write(DOT))
        patch.setattr(predictions, "picture_grid", empty)
        for name in predictions.OF_PREDICTIONS:
            patch.setitem(predictions.OF_PREDICTIONS, name, of_predictions)
        yield


def colours(file):
    """Return how many colors a picture has: more than a few, if something is drawn."""
    picture = cv2.imread(str(file)).astype(np.int64)
    return len(np.unique(picture @ (1, 256, 256**2)))
