"""The common form of all data sets: pictures and labels of two splits, class names, and an identity."""

from dataclasses import dataclass

import numpy as np

from common.errors import InputError

from . import streams

KEPT, HELD_OUT = "training set without held-out pictures", "held-out training pictures"  # names of these splits


class DataError(InputError):
    """The data cannot be used. The one line names the place, the problem and the cure."""


@dataclass(frozen=True)
class Split:
    """Pictures of one split: images uint8 [N, side, side, 3] (RGB) and labels int64 [N]."""

    name: str
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def share(self, part: int, parts: int) -> "Split":
        """Return one of `parts` shares of nearly equal size; together they have every picture once."""
        images, labels = (np.array_split(x, parts)[part] for x in (self.images, self.labels))
        return Split(self.name, images, labels)


@dataclass(frozen=True)
class Dataset:
    """The split to train on, the split to validate on (`val`), the class names, and the identity of the data.

    md5: MD5 of an archive's file; for a folder, see `data.folder.load`.
    official: whether that MD5 is the one of the official archive.
    """

    train: Split
    val: Split
    classes: list[str]
    md5: str | None = None
    official: bool = False


def hold_out(file: object, count: int, labels: np.ndarray, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Choose `count` of the training pictures, always the same -> (indices kept, indices held out), both sorted.

    Args:
        file: the data set's file or folder, for errors.
        labels: classes of all training pictures, int64 [N].
        classes: class names.

    Raises:
        DataError: no picture, or no picture of some class, would remain to train on.
    """
    if count >= len(labels):
        raise DataError(
            f"data.holdout: {count}, but {file} has {len(labels)} training pictures: hold out fewer",
            key="data.holdout",
            value=count,
            place=file,
        )
    order = streams.holdout_order(len(labels))
    kept, held_out = np.sort(order[count:]), np.sort(order[:count])
    lost = np.setdiff1d(labels, labels[kept])
    if len(lost):
        raise DataError(
            f"data.holdout: {count}, which leaves no picture of class {classes[lost[0]]} in {file} to train on (it has "
            f"{(labels == lost[0]).sum()}): hold out fewer, or add pictures of that class",
            key="data.holdout",
            value=count,
            place=file,
        )
    return kept, held_out
