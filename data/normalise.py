"""Normalization of pictures, and back."""

import cv2
import numpy as np

# ImageNet's channel means and standard deviations, which the notebook uses for CIFAR-10 too; RGB, for values in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_MEAN, _STD = np.array(MEAN, np.float32), np.array(STD, np.float32)
# Of each channel's 256 levels [3, 256], to the bits of Paddle's `ToTensor` and `Normalize`.
_NORMALISED = (np.arange(256, dtype=np.float32) / np.float32(255) - _MEAN[:, None]) / _STD[:, None]


def normalise(images: np.ndarray) -> np.ndarray:
    """Normalize pictures: uint8 [N, H, W, 3] -> float32 [N, 3, H, W]."""
    normalised = np.empty((len(images), 3, *images.shape[1:3]), np.float32)
    for image, out in zip(images, normalised, strict=True):
        for channel, levels, plane in zip(cv2.split(image), _NORMALISED, out, strict=True):
            cv2.LUT(channel, levels, dst=plane)
    return normalised


def unnormalise(images: np.ndarray) -> np.ndarray:
    """Undo the normalization for display: float [N, 3, H, W] -> uint8 [N, H, W, 3]."""
    images = np.asarray(images).transpose(0, 2, 3, 1) * _STD + _MEAN
    return (images * 255).round().clip(0, 255).astype(np.uint8)
