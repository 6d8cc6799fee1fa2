"""Synthetic pictures that resemble natural ones."""

import cv2
import numpy as np

from data import Split


def pictures(n, seed=0):
    """Return smooth random fields with some grain, unlike plain noise: uint8 [n, 32, 32, 3]."""
    rng = np.random.RandomState(seed)
    grain = rng.normal(0, 5, (n, 32, 32, 3))
    fields = [cv2.resize(rng.normal(120, 50, (6, 6, 3)), (32, 32), interpolation=cv2.INTER_CUBIC) for _ in range(n)]
    return (fields + grain).clip(0, 255).astype(np.uint8)


def split(n=100):
    return Split("training set", pictures(n), np.random.RandomState(1).randint(0, 10, n))
