"""Pictures to evaluate on, without augmentation."""

from collections.abc import Sequence

import cv2
import numpy as np
from paddle.io import Dataset

from .dataset import Split
from .normalise import normalise


class EvaluationPictures(Dataset):
    """Pictures to evaluate on, resized as the notebook does: index -> (normalized picture, label)."""

    def __init__(self, split: Split, image_size: int):
        super().__init__()
        self.split, self.image_size = split, image_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        picture, label = self.picture(index)
        return self.normalised(picture[None], [index])[0], label

    def picture(self, index: int) -> tuple[np.ndarray, np.int64]:
        """Return a picture before it is normalized, uint8 [size, size, 3], and its label."""
        return cv2.resize(self.split.images[index], (self.image_size, self.image_size)), self.split.labels[index]

    def normalised(self, pictures: np.ndarray, indices: Sequence[int]) -> np.ndarray:
        """Normalize pictures: uint8 [n, h, w, 3] -> float32 [n, 3, h, w]."""
        return normalise(pictures)

    def __len__(self) -> int:
        return len(self.split)
