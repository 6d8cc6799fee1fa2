"""Normalization of pictures, and back."""

import numpy as np

# ImageNet's channel means and standard deviations, which the notebook uses for CIFAR-10 too; RGB, for values in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_MEAN, _STD = np.array(MEAN, np.float32), np.array(STD, np.float32)


def normalise(image: np.ndarray) -> np.ndarray:
    """Normalize one picture: uint8 [H, W, 3] -> float32 [3, H, W].

    The result is that of Paddle's `ToTensor` and `Normalize`. Their operators can crash in forked worker processes.
    """
    image = image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return (image - _MEAN[:, None, None]) / _STD[:, None, None]


def unnormalise(images: np.ndarray) -> np.ndarray:
    """Undo the normalization for display: float [N, 3, H, W] -> uint8 [N, H, W, 3]."""
    images = np.asarray(images).transpose(0, 2, 3, 1) * _STD + _MEAN
    return (images * 255).round().clip(0, 255).astype(np.uint8)
