"""Made pictures that look like natural ones to an augmentation."""

import cv2
import numpy as np

from data import Split


def pictures(n, seed=0):
    """Smooth random fields with some grain, uint8 [n, 32, 32, 3]: as natural pictures are, and not as noise is."""
    rng = np.random.RandomState(seed)
    grain = rng.normal(0, 5, (n, 32, 32, 3))
    fields = [cv2.resize(rng.normal(120, 50, (6, 6, 3)), (32, 32), interpolation=cv2.INTER_CUBIC) for _ in range(n)]
    return (fields + grain).clip(0, 255).astype(np.uint8)


def split(n=100):
    return Split("training set", pictures(n), np.random.RandomState(1).randint(0, 10, n))
