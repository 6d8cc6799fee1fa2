"""Scikit-learn's handwritten digits as an archive in CIFAR-10's layout: real pictures without a download."""

from pathlib import Path

import cv2
import numpy as np

from .write import write_cifar10

CLASSES = [f"digit {name}" for name in ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]]


def write_digits(file: str | Path) -> tuple[int, int]:
    """Write the 1,797 digits, enlarged from 8 x 8 gray to 32 x 32 RGB; every fifth is a test picture.

    Returns:
        the numbers of digits to train on and to test on.

    Raises:
        OSError: the file cannot be written.

    Source: UCI, "Optical Recognition of Handwritten Digits".
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = [cv2.resize(image / 16, (32, 32), interpolation=cv2.INTER_LINEAR) for image in digits.images]
    images = np.repeat(np.rint(np.stack(grey)[..., None] * 255).astype(np.uint8), 3, axis=3)
    for_test = np.arange(len(images)) % 5 == 0
    train, test = ((images[chosen], digits.target[chosen]) for chosen in (~for_test, for_test))
    write_cifar10(file, train, test, CLASSES)
    return len(train[1]), len(test[1])
