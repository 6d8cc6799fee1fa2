"""The notebook's pipeline: `paddle.vision.transforms` with the cv2 backend, picture by picture on the host.

A picture depends on (seed, epoch, index) alone, not on the worker that handles it or on earlier pictures.
"""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from paddle.vision import transforms as T

from . import erasing, streams
from .dataset import Split
from .epoch import AS_THE_NOTEBOOK, Augmentation, EpochPictures
from .normalise import normalise


def training_transform(image_size: int, augmentation: Augmentation = AS_THE_NOTEBOOK) -> Any:
    """Return the transform uint8 [h, w, 3] -> float32 [3, image_size, image_size], augmented and normalized."""
    jitter = augmentation.jitter
    return T.Compose(
        [
            T.RandomResizedCrop(image_size, scale=(augmentation.crop, 1.0)),
            T.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter),
            T.RandomHorizontalFlip(augmentation.flip),
            T.RandomRotation(augmentation.rotation),
            normalise,
        ]
    )


class TrainingPictures(EpochPictures):
    """Pictures to train on: the key (epoch, index) -> (augmented picture, label)."""

    def __init__(self, split: Split, image_size: int, seed: int, augmentation: Augmentation):
        super().__init__(split, image_size, seed, augmentation)
        self.transform = training_transform(image_size, augmentation)

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
        epoch, index = key
        image = self.before(epoch, [index])[0]
        with _seeded(*streams.picture_seeds(self.seed, epoch, index)):
            image = self.transform(image)
        return erasing.erase(image, self.boxes(epoch)[index]), self.split.labels[index]


@contextlib.contextmanager
def _seeded(for_python: int, for_numpy: int) -> Iterator[None]:
    """Seed the two global generators that the transforms draw from, and restore them afterwards."""
    before = random.getstate(), np.random.get_state()
    random.seed(for_python)
    np.random.seed(for_numpy)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
