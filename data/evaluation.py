"""Pictures to evaluate on, without augmentation."""

from typing import Any

import numpy as np
from paddle.io import Dataset
from paddle.vision import transforms as T

from .dataset import Split
from .normalise import normalise


def evaluation_transform(image_size: int) -> Any:
    """Return the transform uint8 [h, w, 3] -> float32 [3, image_size, image_size], normalized."""
    return T.Compose([T.Resize((image_size, image_size)), normalise])


class EvaluationPictures(Dataset):
    """Pictures to evaluate on: index -> (picture, label)."""

    def __init__(self, split: Split, image_size: int):
        super().__init__()
        self.split = split
        self.transform = evaluation_transform(image_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return self.transform(self.split.images[index]), self.split.labels[index]

    def __len__(self) -> int:
        return len(self.split)
