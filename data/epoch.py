"""The part of training augmentation that every pipeline shares: its strengths, RandAugment and random erasing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from paddle.io import Dataset

from . import erasing, randaugment
from .dataset import Split


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
    """The training pictures of an epoch, before and after the transforms that differ between the pipelines.

    Everything is drawn once per epoch, so it depends on (seed, epoch, index) alone.
    """

    def __init__(self, split: Split, image_size: int, seed: int, augmentation: Augmentation):
        super().__init__()
        self.split, self.image_size, self.seed, self.augmentation = split, image_size, seed, augmentation

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
