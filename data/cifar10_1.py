"""Read CIFAR-10.1: new test pictures for models of CIFAR-10, https://github.com/modestyachts/CIFAR-10.1.

Recht, Roelofs, Schmidt and Shankar, "Do CIFAR-10 Classifiers Generalize to CIFAR-10?", arXiv:1806.00451. There are two
versions, each of a file of pictures and one of labels; the classes are those of CIFAR-10.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import npy
from .archive import CIFAR10_CLASSES, SIDE
from .dataset import DataError, Dataset, Split, positions
from .download import md5sum


@dataclass(frozen=True)
class Version:
    """The number of pictures, and the ids that git gives the files in the authors' repository."""

    count: int
    data: str
    labels: str


VERSIONS = {
    "cifar10.1_v4": Version(
        2021, "1094f59a54cf768f7b1ca5029eb4a94b8c635ebe", "64acdcc7ba98d0554f9c9fe00c5483d9247e61df"
    ),
    "cifar10.1_v6": Version(
        2000, "24349cc5f3fb59648d75cd8015b5a184b1f5c250", "e713b09cecf2ecd933970001909fcdec7c907ab0"
    ),
}
DATA, LABELS = "_data.npy", "_labels.npy"
NEW = "new test pictures"  # name of the split
FILES = " or ".join(f"{stem}{DATA}" for stem in VERSIONS)


def load(file: str | Path, classes: Sequence[str] | None = None) -> Dataset:
    """Read the pictures, and the labels in the file beside them; there is nothing to train on.

    Args:
        file: path of `cifar10.1_v4_data.npy` or `cifar10.1_v6_data.npy`.
        classes: the names of the model's classes in the order of their labels; by default CIFAR-10's.

    Raises:
        DataError: a file is missing or has another layout, or `classes` lack one of CIFAR-10's.
    """
    file = Path(file)
    stem = file.name.removesuffix(DATA)
    if file.name == stem or stem not in VERSIONS:
        raise DataError(
            f"data.file: {file}, expected the path of {FILES}: give one of these, with its labels beside it",
            key="data.file",
            value=str(file),
            place=file,
        )
    version, beside = VERSIONS[stem], file.with_name(stem + LABELS)
    cure = "take it from the folder datasets of https://github.com/modestyachts/CIFAR-10.1"
    images = npy.read(file, [version.count, SIDE, SIDE, 3], ["uint8"], "data.file", cure)
    labels = npy.read(beside, [version.count], npy.INTEGERS, "data.file", cure)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(CIFAR10_CLASSES)))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"data.file: {beside} has {labels[row]} in row {row}, expected 0 to {len(CIFAR10_CLASSES) - 1}: {cure}",
            key="data.file",
            value=int(labels[row]),
            place=beside,
        )
    names = list(CIFAR10_CLASSES) if classes is None else list(classes)
    val = Split(NEW, np.array(images), _in_order_of(names, file)[labels])
    nothing = Split("training set", val.images[:0], val.labels[:0])
    official = _git_id(file) == version.data and _git_id(beside) == version.labels
    return Dataset(nothing, val, names, md5sum(file), official)


def _in_order_of(names: Sequence[str], file: Path) -> np.ndarray:
    """Return the label that each class of CIFAR-10 has among a model's classes: int64 [10]."""
    known = positions(CIFAR10_CLASSES, names)
    if unknown := [name for name, label in known.items() if label is None]:
        raise DataError(
            f"{file}: the model does not know the class {', '.join(unknown)}: CIFAR-10.1 is for models of CIFAR-10",
            key="data.file",
            value=unknown[0],
            place=file,
        )
    return np.array([known[name] for name in CIFAR10_CLASSES], np.int64)


def _git_id(file: Path) -> str:
    """Return the id that git gives the content of a file."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
