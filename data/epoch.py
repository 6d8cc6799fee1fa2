"""The part of training augmentation that every pipeline shares: its strengths, RandAugment and random erasing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from paddle.io import Dataset

from . import erasing, randaugment
from .dataset import Split
from .normalise import normalise


@dataclass(frozen=True)
class Augmentation:
    """How strongly training pictures are changed; the defaults are the notebook's."""

    crop: float = 0.6  # smallest share of a picture's area that a crop keeps
    jitter: float = 0.2  # of brightness, contrast and saturation
    rotation: float = 20.0  # degrees to either side
    flip: float = 0.5  # probability of a mirror image
    randaugment: int = 0  # operations per picture
    magnitude: float = 9.0  # of these operations, 0 to 10
    erasing: float = 0.0  # probability per picture


AS_THE_NOTEBOOK = Augmentation()


class EpochPictures(Dataset):
    """Pictures to train on: the key (epoch, index) -> (augmented and normalized picture, label).

    The pipelines differ in `picture`. All that is drawn depends on (seed, epoch, index) alone.
    """

    def __init__(self, split: Split, image_size: int, seed: int, augmentation: Augmentation):
        super().__init__()
        self.split, self.image_size, self.seed, self.augmentation = split, image_size, seed, augmentation

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
        picture, label = self.picture(key)
        return self.normalised(picture[None], [key])[0], label

    def picture(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
        """Return a picture before it is normalized, uint8 [size, size, 3], and its label."""
        raise NotImplementedError

    def normalised(self, pictures: np.ndarray, keys: Sequence[tuple[int, int]]) -> np.ndarray:
        """Normalize the pictures of these keys, and erase their boxes: uint8 [n, h, w, 3] -> float32 [n, 3, h, w]."""
        images = normalise(pictures)
        for image, (epoch, index) in zip(images, keys, strict=True):
            erasing.erase(image, self.boxes(epoch)[index])
        return images

    def operations(self, epoch: int) -> np.ndarray:
        """Return RandAugment's operations on each picture; see `randaugment.sample`."""
        return randaugment.operations(self.seed, epoch, len(self), self.augmentation.randaugment)

    def boxes(self, epoch: int) -> np.ndarray:
        """Return the box that is erased of each picture; see `erasing.sample`."""
        return erasing.boxes(self.seed, epoch, len(self), self.image_size, self.augmentation.erasing)

    def before(self, epoch: int, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return pictures of the split as the transforms get them: uint8 [n, side, side, 3]."""
        operations = self.operations(epoch)[indices]
        return randaugment.randaugment(self.split.images[indices], operations, self.augmentation.magnitude)

    def __len__(self) -> int:
        return len(self.split)
