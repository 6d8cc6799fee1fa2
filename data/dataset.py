"""The common form of all data sets: pictures and labels of two splits, class names, and an identity."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from common.errors import InputError

from . import streams

KEPT, HELD_OUT = "training set without held-out pictures", "held-out training pictures"  # names of these splits
RANDOM, STRATIFIED = "random", "stratified"  # ways to choose what is held out


class DataError(InputError):
    """The data cannot be used. The one line names the place, the problem and the cure."""


@dataclass(frozen=True)
class Split:
    """Pictures of one split: images uint8 [N, side, side, 3] (RGB; may be `PicturesOnDisk`) and labels int64 [N]."""

    name: str
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def share(self, part: int, parts: int) -> "Split":
        """Return one of `parts` shares of nearly equal size; together they have every picture once."""
        size, larger = divmod(len(self), parts)
        begin = part * size + min(part, larger)
        mine = slice(begin, begin + size + (part < larger))
        return Split(self.name, self.images[mine], self.labels[mine])


@dataclass(frozen=True)
class Dataset:
    """The split to train on, the split to validate on (`val`), the class names, and the identity of the data.

    md5: MD5 of an archive's file; for a folder, see `data.folder.load`.
    official: whether that MD5 is the one of the official archive.
    notes: what a user should know about the data, as lines for the log.
    """

    train: Split
    val: Split
    classes: list[str]
    md5: str | None = None
    official: bool = False
    notes: tuple[str, ...] = ()


def hold_out(
    file: object, count: int, labels: np.ndarray, classes: Sequence[str], how: str = RANDOM
) -> tuple[np.ndarray, np.ndarray]:
    """Choose `count` of the training pictures, always the same -> (indices kept, indices held out), both sorted.

    Args:
        file: the data set's file or folder, for errors.
        labels: classes of all training pictures, int64 [N].
        classes: class names.
        how: `STRATIFIED` holds out the same share of each class, at least one picture; `RANDOM` does not look at
            classes.

    Raises:
        DataError: no picture, or no picture of some class, would remain to train on, or (stratified) to validate on.
    """
    if count >= len(labels):
        _refuse_holdout(count, file, f"but {file} has {len(labels)} training pictures: hold out fewer")
    order = streams.holdout_order(len(labels))
    if how == STRATIFIED:
        order = _stratified(file, count, labels, classes, order)
    kept, held_out = np.sort(order[count:]), np.sort(order[:count])
    lost = np.setdiff1d(labels, labels[kept])
    if len(lost):
        _refuse_holdout(
            count,
            file,
            f"which leaves no picture of class {classes[lost[0]]} in {file} to train on (it has "
            f"{(labels == lost[0]).sum()}): hold out fewer, or add pictures of that class",
        )
    return kept, held_out


def _stratified(file: object, count: int, labels: np.ndarray, classes: Sequence[str], order: np.ndarray) -> np.ndarray:
    """Return the order of pictures with its first `count` of all classes, in proportion to their pictures."""
    present, sizes = np.unique(labels, return_counts=True)
    if sizes.min() < 2:
        name = classes[present[sizes.argmin()]]
        _refuse_holdout(count, file, f"but class {name} in {file} has one picture: add pictures of it")
    if not len(present) <= count <= len(labels) - len(present):
        _refuse_holdout(
            count,
            file,
            f"but {file} has {len(labels)} training pictures of {len(present)} classes, each of which needs a picture "
            f"to train on and one to validate on: hold out {len(present)} to {len(labels) - len(present)}",
        )
    shares = np.ones(len(present), np.int64)
    for _ in range(count - len(present)):  # whole numbers: no rounding can change the choice
        lacking = np.where(shares < sizes - 1, count * sizes - shares * len(labels), np.iinfo(np.int64).min)
        shares[lacking.argmax()] += 1
    of_order = labels[order]
    first = np.concatenate([order[of_order == label][:share] for label, share in zip(present, shares, strict=True)])
    return np.concatenate([first, order[~np.isin(order, first)]])


def stratified_subset(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of `count` pictures, always the same, of all classes in proportion: int64 [count], sorted."""
    order = streams.holdout_order(len(labels))
    place = np.empty(len(labels))  # within its class, from 0 to 1
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return np.sort(order[np.argsort(place[order], kind="stable")][:count])


def _refuse_holdout(count: int, file: object, problem: str) -> NoReturn:
    raise DataError(f"data.holdout: {count}, {problem}", key="data.holdout", value=count, place=file)


def about_absent(val: Split, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return a line for the log if training pictures, of these labels, have classes that `val` has none of."""
    absent = [classes[label] for label in np.setdiff1d(labels, val.labels)]
    if not absent:
        return []
    names = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
    return [f"No {val.name} are of class {names}: data.holdout_split=stratified takes some of each class"]


def about_twins(count: int, total: int, example: str = "") -> list[str]:
    """Return a line for the log if validation pictures are also training pictures."""
    if not count:
        return []
    return [
        f"{count:,} of {total:,} validation pictures are bit-identical to training pictures{example}: results on them "
        "say nothing about new pictures"
    ]


def positions(names: Iterable[str], classes: Sequence[str]) -> dict[str, int | None]:
    """Return where each name is among the classes; None if it is not.

    A name that differs only in how its letters are composed (Unicode's NFC and NFD) is found too.
    """
    exact = {name: label for label, name in enumerate(classes)}
    composed = {unicodedata.normalize("NFC", name): label for name, label in exact.items()}
    return {name: exact.get(name, composed.get(unicodedata.normalize("NFC", name))) for name in names}
