"""RandAugment with randomness as a value: `randaugment(images, sample(rng, n, count), magnitude)`.

Source: Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", NeurIPS 2020,
section 3: its 14 operations, by Pillow, with the ranges of AutoAugment (Cubuk et al., CVPR 2019), as in torchvision.
In every pipeline it comes first, on pictures of the split's own size.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from . import streams

LARGEST = 10  # magnitude
FILL = (124, 116, 104)  # the mean color, for pixels that a move uncovers


def _moved(image: Image.Image, *matrix: float) -> Image.Image:
    """Take each pixel (x, y) from (a x + b y + c, d x + e y + f), where the matrix is a to f."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL)


# The amount is from -1 to 1 and its sign is drawn; an operation of one direction ignores the sign.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, amount: image,
    "autocontrast": lambda image, amount: ImageOps.autocontrast(image),
    "equalize": lambda image, amount: ImageOps.equalize(image),
    "rotate": lambda image, amount: image.rotate(30 * amount, Image.Resampling.BILINEAR, fillcolor=FILL),
    "solarize": lambda image, amount: ImageOps.solarize(image, math.ceil(256 * (1 - abs(amount)))),
    "color": lambda image, amount: ImageEnhance.Color(image).enhance(1 + 0.9 * amount),
    "posterize": lambda image, amount: ImageOps.posterize(image, 8 - round(4 * abs(amount))),
    "contrast": lambda image, amount: ImageEnhance.Contrast(image).enhance(1 + 0.9 * amount),
    "brightness": lambda image, amount: ImageEnhance.Brightness(image).enhance(1 + 0.9 * amount),
    "sharpness": lambda image, amount: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * amount),
    "shear x": lambda image, amount: _moved(image, 1, 0.3 * amount, 0, 0, 1, 0),
    "shear y": lambda image, amount: _moved(image, 1, 0, 0, 0.3 * amount, 1, 0),
    "translate x": lambda image, amount: _moved(image, 1, 0, 150 / 331 * image.width * amount, 0, 1, 0),
    "translate y": lambda image, amount: _moved(image, 1, 0, 0, 0, 1, 150 / 331 * image.height * amount),
}
NAMES = tuple(OPERATIONS)


def sample(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
    """Draw `count` operations for each of n pictures, with replacement.

    -> int64 [n, count, 2]: the operation, an index of `NAMES`, and its direction, 1 or -1.
    """
    return np.stack([rng.integers(len(NAMES), size=(n, count)), rng.choice([-1, 1], (n, count))], axis=2)


@functools.lru_cache(maxsize=2)
def operations(seed: int, epoch: int, n: int, count: int) -> np.ndarray:
    """Return the operations for all n pictures of a split in an epoch; see `sample`."""
    return sample(streams.generator(streams.RANDAUGMENT, seed, epoch), n, count)


def randaugment(images: np.ndarray, operations: np.ndarray, magnitude: float) -> np.ndarray:
    """Change pictures by operations of a magnitude from 0 (nearly no change) to 10.

    uint8 [n, h, w, 3], operations [n, count, 2] -> uint8 [n, h, w, 3]
    """
    if not operations.size:
        return images
    changed = np.empty_like(images)
    for i, (pixels, drawn) in enumerate(zip(images, operations.tolist(), strict=True)):
        image = Image.fromarray(pixels)
        for operation, direction in drawn:
            image = OPERATIONS[NAMES[operation]](image, direction * magnitude / LARGEST)
        changed[i] = image
    return changed
