"""The notebook's transforms, by paddle.vision itself with its cv2 backend: what the `host` pipeline has to make."""

import random

import numpy as np
from paddle.vision import transforms as T

from data.epoch import AS_THE_NOTEBOOK
from data.normalise import MEAN, STD


def training_transform(image_size, augmentation=AS_THE_NOTEBOOK):
    """Return the transform uint8 [h, w, 3] -> uint8 [image_size, image_size, 3], which draws from global generators."""
    jitter = augmentation.jitter
    return T.Compose(
        [
            T.RandomResizedCrop(image_size, scale=(augmentation.crop, 1.0)),
            T.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter),
            T.RandomHorizontalFlip(augmentation.flip),
            T.RandomRotation(augmentation.rotation),
        ]
    )


def drawn_by(seeds, transform, image):
    """Apply a transform after seeding Python's and numpy's global generators, which are as before then."""
    before = random.getstate(), np.random.get_state()
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    try:
        return transform(image)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def normalise(image):
    """Paddle 3's ToTensor and Normalize by numpy: uint8 [h, w, 3] -> float32 [3, h, w]."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (MEAN, STD))
    return (image.transpose(2, 0, 1).astype(np.float32) / np.float32(255) - mean) / std
