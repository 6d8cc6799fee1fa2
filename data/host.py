"""The notebook's pipeline: what `paddle.vision.transforms` with the cv2 backend make of a picture, to the same bits.

It draws what they draw, in their order, but from generators of its own. A picture depends on (seed, epoch, index)
alone, not on the worker that handles it or on earlier pictures.
"""

import math
import random

import cv2
import numpy as np

from . import streams
from .augment import BRIGHTNESS, CONTRAST, PIVOT, RATIO, SATURATION, TRIES, Params
from .epoch import Augmentation, EpochPictures

HUE = 3  # takes part in the shuffle, but does nothing: the notebook leaves it at 0


class TrainingPictures(EpochPictures):
    """Pictures to train on: the key (epoch, index) -> (augmented picture, label)."""

    def picture(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
        epoch, index = key
        image = apply(self.before(epoch, [index])[0], self.drawn(epoch, index), self.image_size)
        return image, self.split.labels[index]

    def drawn(self, epoch: int, index: int) -> Params:
        """Return how a picture is augmented."""
        height, width = self.split.images.shape[1:3]
        return sample(*streams.picture_generators(self.seed, epoch, index), height, width, self.augmentation)


def sample(
    python: random.Random, numpy: np.random.RandomState, height: int, width: int, augmentation: Augmentation
) -> Params:
    """Draw how one picture of height x width is augmented.

    These are the draws of RandomResizedCrop, ColorJitter, RandomHorizontalFlip and RandomRotation, which use both
    Python's generator and numpy's.
    """
    box = _box(python, numpy, height, width, augmentation.crop)
    order = [BRIGHTNESS, CONTRAST, SATURATION, HUE]
    python.shuffle(order)
    order.remove(HUE)
    factor, jitter = [1.0, 1.0, 1.0], augmentation.jitter
    if jitter:
        for kind in order:
            factor[kind] = python.uniform(1 - jitter, 1 + jitter)
        spread = factor[SATURATION]
        factor[SATURATION] = numpy.uniform(max(0, 1 - spread), 1 + spread)
    flip = python.random() < augmentation.flip
    angle = python.uniform(-augmentation.rotation, augmentation.rotation)
    return Params(box, order if jitter else [], factor, flip, angle)


def _box(
    python: random.Random, numpy: np.random.RandomState, height: int, width: int, least: float
) -> tuple[int, int, int, int]:
    """Draw the crop: the first of ten that fits, or else the middle of the picture."""
    for _ in range(TRIES):
        area = numpy.uniform(least, 1) * (height * width)
        ratio = math.exp(numpy.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return python.randint(0, height - h), python.randint(0, width - w), h, w
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def apply(image: np.ndarray, params: Params, size: int) -> np.ndarray:
    """Augment one picture: uint8 [h, w, 3] -> uint8 [size, size, 3]."""
    top, left, height, width = params.box
    image = cv2.resize(image[top : top + height, left : left + width], (size, size))
    if params.order:
        at = params.order.index(SATURATION)
        image = _stretched(image, params.order[:at], params.factor)
        image = _saturated(image, params.factor[SATURATION])
        image = _stretched(image, params.order[at + 1 :], params.factor)
    if params.flip:
        image = cv2.flip(image, 1)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), params.angle, 1)
    return cv2.warpAffine(image, turn, (size, size), flags=cv2.INTER_NEAREST)


def _stretched(image: np.ndarray, kinds: list[int], factor: list[float]) -> np.ndarray:
    """Change brightness, contrast, both or none, by one look-up in a table."""
    if not kinds:
        return image
    levels = np.arange(256.0)
    for kind in kinds:
        pivot = PIVOT if kind == CONTRAST else 0
        levels = np.trunc(((levels - pivot) * factor[kind] + pivot).clip(0, 255))
    return cv2.LUT(image, levels.astype(np.uint8))


def _saturated(image: np.ndarray, factor: float) -> np.ndarray:
    image = image.astype(np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) * np.float32(1 - factor)
    image *= np.float32(factor)
    image += cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)  # of the same shape: broadcasting takes five times as long
    return image.clip(0, 255, out=image).astype(np.uint8)
