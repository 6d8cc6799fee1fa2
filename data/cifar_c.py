"""Read CIFAR-10-C, https://zenodo.org/records/2535967: a folder of one .npy file per corruption, and `labels.npy`.

Each file holds the 10,000 test pictures of CIFAR-10 in their order, five times: at severities 1 to 5. Hendrycks and
Dietterich, ICLR 2019.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import npy
from .archive import CIFAR10_CLASSES, SIDE
from .corruptions import CORRUPTIONS, SEVERITIES
from .dataset import DataError, Split

LABELS = "labels"
NOT_COUNTED = ("speckle_noise", "gaussian_blur", "spatter", "saturate")  # meant for validation, not for the mean
CURE = "give the folder CIFAR-10-C of https://zenodo.org/records/2535967, unpacked, as it is"


@dataclass(frozen=True)
class CorruptedPictures:
    """The corrupted pictures of a test set, mapped into memory: by corruption uint8 [5 N, 32, 32, 3]."""

    arrays: dict[str, np.ndarray]
    not_counted: tuple[str, ...]  # corruptions in the folder that do not count

    def images(self, name: str, severity: int, indices: np.ndarray) -> np.ndarray:
        """Return the test pictures of these numbers under a corruption: uint8 [n, 32, 32, 3]."""
        rows = len(self.arrays[name]) // SEVERITIES
        return np.asarray(self.arrays[name][rows * (severity - 1) + indices])


def read(folder: str | Path, test: Split, classes: Sequence[str]) -> CorruptedPictures:
    """Read the folder, and check it against the test set of CIFAR-10 and the names of its classes.

    Raises:
        DataError: a file is missing or has another layout, or the labels are not those of the test set.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"--data {folder}: no such folder: {CURE}", key="--data", value=str(folder), place=folder)
    count = SEVERITIES * len(test)
    labels = npy.read(_file(folder, LABELS), [count], npy.INTEGERS, "--data", CURE)
    _check_labels(_file(folder, LABELS), labels, test, classes)
    shape = [count, SIDE, SIDE, 3]
    arrays = {name: npy.read(_file(folder, name), shape, ["uint8"], "--data", CURE) for name in CORRUPTIONS}
    return CorruptedPictures(arrays, tuple(_present(folder, NOT_COUNTED)))


def _check_labels(file: Path, labels: np.ndarray, test: Split, classes: Sequence[str]) -> None:
    numbers = {name: number for number, name in enumerate(CIFAR10_CLASSES)}
    official = np.array([numbers.get(name, -1) for name in classes])[test.labels]
    wrong = np.flatnonzero(labels != np.tile(official, SEVERITIES))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"--data: {file} has {labels[row]} in row {row}, but picture {row % len(test)} of the {test.name} is a "
            f"{classes[test.labels[row % len(test)]]}: give CIFAR-10-C for a model of CIFAR-10, with data.file=ARCHIVE "
            "of CIFAR-10",
            key="--data",
            value=int(labels[row]),
            place=file,
        )


def _present(folder: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if _file(folder, name).exists()]


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"
