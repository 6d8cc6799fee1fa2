"""What every data set is to the rest: pictures and labels of two splits, the names of the classes, and its identity."""

from dataclasses import dataclass

import numpy as np

from common.errors import InputError

HOLDOUT_SEED = 42  # one fixed permutation, so that runs with different seeds are validated on the same pictures
KEPT, HELD_OUT = "training set without held-out pictures", "held-out training pictures"  # names of these splits


class DataError(InputError):
    """The data cannot be used. The one line says where, what is wrong, and what to do."""


@dataclass(frozen=True)
class Split:
    """Pictures of one split: images uint8 [N, side, side, 3] (RGB) and labels int64 [N]."""

    name: str
    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def share(self, part, parts):
        """Return one of `parts` shares, as equal as can be, that have every picture once between them."""
        images, labels = (np.array_split(x, parts)[part] for x in (self.images, self.labels))
        return Split(self.name, images, labels)


@dataclass(frozen=True)
class Dataset:
    """Both splits, `val` being what is validated on, the names of the classes, and what tells the data from other.

    md5: of an archive that of the file; of a folder, see `data.folder.load`.
    official: whether it is its data set's official archive, by its MD5.
    """

    train: Split
    val: Split
    classes: list[str]
    md5: str | None = None
    official: bool = False


def hold_out(file, count, labels, classes):
    """Choose `count` of the training pictures, always the same: -> (those kept, those held out), both in order.

    Args:
        labels: the classes of all of them, int64 [N]; classes: their names.

    Raises:
        DataError: nothing would be left of `file`, or of one of its classes, to train on.
    """
    if count >= len(labels):
        raise DataError(f"data.holdout: {count}, but {file} has {len(labels)} training pictures: hold out fewer")
    order = np.random.RandomState(HOLDOUT_SEED).permutation(len(labels))
    kept, held_out = np.sort(order[count:]), np.sort(order[:count])
    lost = np.setdiff1d(labels, labels[kept])
    if len(lost):
        raise DataError(
            f"data.holdout: {count}, which leaves no picture of class {classes[lost[0]]} in {file} to train on (it has "
            f"{(labels == lost[0]).sum()}): hold out fewer, or add pictures of that class"
        )
    return kept, held_out
