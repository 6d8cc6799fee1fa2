"""The corruptions of CIFAR-10-C, made here: the same functions and strengths, other random numbers."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from . import distortions, streams

SEVERITIES = 5
FROST = "frost"  # the one corruption that needs pictures of its own
LIBRARIES = ("numpy", "scipy", "pillow")  # that make them


@dataclass(frozen=True)
class Corruption:
    """A function of `data.distortions`, and what it gets beside picture and generator at severities 1 to 5."""

    function: Callable[..., np.ndarray]
    strengths: tuple[tuple[Any, ...], ...]


def _each(*values: Any) -> tuple[tuple[Any, ...], ...]:
    return tuple((value,) for value in values)


# The strengths for 32 x 32 pictures in `make_cifar_c.py` of hendrycks/robustness, in the order of the paper. Those of
# ImageNet-C differ. A corruption's place seeds its random stream.
CORRUPTIONS = {
    "gaussian_noise": Corruption(distortions.gaussian_noise, _each(0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": Corruption(distortions.shot_noise, _each(500, 250, 100, 75, 50)),
    "impulse_noise": Corruption(distortions.impulse_noise, _each(0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": Corruption(distortions.defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    # The distance between pixels that change places is 1 at every severity.
    "glass_blur": Corruption(distortions.glass_blur, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))),
    "motion_blur": Corruption(distortions.motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": Corruption(distortions.zoom_blur, _each(1.06, 1.11, 1.16, 1.21, 1.26)),
    "snow": Corruption(
        distortions.snow,
        (
            (0.10, 0.2, 1.00, 0.60, 8, 3, 0.95),
            (0.10, 0.2, 1.00, 0.50, 10, 4, 0.90),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.90),
            (0.25, 0.3, 2.25, 0.60, 12, 6, 0.85),
            (0.30, 0.3, 1.25, 0.65, 14, 12, 0.80),
        ),
    ),
    FROST: Corruption(distortions.frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": Corruption(distortions.fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": Corruption(distortions.brightness, _each(0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": Corruption(distortions.contrast, _each(0.75, 0.5, 0.4, 0.3, 0.15)),
    # In pixels: the original's shares of the side, times 32.
    "elastic_transform": Corruption(
        distortions.elastic_transform,
        ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
    ),
    "pixelate": Corruption(distortions.pixelate, _each(0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": Corruption(distortions.jpeg_compression, _each(80, 65, 58, 50, 40)),
}


def corrupt(
    images: np.ndarray,
    name: str,
    severity: int,
    indices: Sequence[int] | np.ndarray,
    seed: int = 0,
    frost: str | None = None,
) -> np.ndarray:
    """Corrupt pictures: uint8 [n, h, w, 3] -> uint8 [n, h, w, 3].

    Args:
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        indices: the number of each picture in its data set. What a picture becomes depends on it, on the other
            arguments and on nothing else.
        frost: the folder with the pictures of frost, which `FROST` needs.

    Raises:
        DataError: pictures of frost are missing, or others.
    """
    corruption, number = CORRUPTIONS[name], list(CORRUPTIONS).index(name)
    make = functools.partial(corruption.function, folder=frost) if name == FROST else corruption.function
    made = np.empty(images.shape, np.uint8)
    for i, index in enumerate(indices):
        rng = streams.generator(streams.CORRUPTION, seed, number, severity, int(index))
        made[i] = distortions.levels(make(images[i] / 255, rng, *corruption.strengths[severity - 1]))
    return made


def made_by() -> dict[str, str]:
    """Return the libraries that make the corruptions, with their versions."""
    return {name: version(name) for name in LIBRARIES}
