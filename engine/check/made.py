"""Made pictures, so that the checks need no data: each class has its own color, with noise around it."""

from pathlib import Path

import numpy as np

from data.write import Pictures, write_cifar10

CLASSES = [f"color {i}" for i in range(10)]
NOISE = 40  # levels


def pictures(count: int, seed: int) -> Pictures:
    """Return made pictures, uint8 [count, 32, 32, 3], and their labels, all classes in turn."""
    rng = np.random.RandomState(seed)
    colors = np.random.RandomState(0).randint(NOISE, 256 - NOISE, (len(CLASSES), 1, 1, 3))
    labels = np.arange(count) % len(CLASSES)
    images = colors[labels] + rng.randint(-NOISE, NOISE, (count, 32, 32, 3))
    return images.astype(np.uint8), labels


def write(folder: Path, train: int, val: int) -> Path:
    """Write an archive of made pictures; return its path."""
    file = folder / "made.tar.gz"
    write_cifar10(file, pictures(train, seed=1), pictures(val, seed=2), CLASSES)
    return file
