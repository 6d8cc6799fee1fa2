"""Read pictures in class sub-folders, `train/<class>/` and `val/<class>/`, as checked arrays."""

import contextlib
import hashlib
import os
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import psutil
from tqdm.auto import tqdm

from common.notebook import HAS_WIDGETS

from . import pictures
from .dataset import (
    HELD_OUT,
    KEPT,
    RANDOM,
    DataError,
    Dataset,
    Split,
    about_absent,
    about_twins,
    hold_out,
    positions,
)
from .on_disk import PicturesOnDisk

TRAIN, VAL = "train", "val"
HINTS = {TRAIN: "", VAL: "; or set data.holdout=N to validate on N of the training pictures"}
IN_MEMORY = 1 << 28  # bytes of pictures
MOST = 20  # problems named in one line
# Linux gives a container's memory limit here: version 2 of control groups, and version 1.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class FolderError(DataError):
    """A folder of pictures is not in order. The line names the first `MOST` problems; `problems` has them all."""

    def __init__(self, problems: Sequence[tuple[Path, str]]):
        self.problems = [f"{place}: {problem}" for place, problem in problems]
        message, more = "; ".join(self.problems[:MOST]), len(problems) - MOST
        if more > 0:
            message += f"; and {more:,} more"
        if len(problems) > 1:
            message = f"{len(problems):,} problems: {message}"
        super().__init__(message, key="data.file", place=problems[0][0])


def load(
    folder: str | Path,
    holdout: int,
    side: int,
    val_only: bool = False,
    classes: Sequence[str] | None = None,
    holdout_split: str = RANDOM,
    on_disk: bool = False,
) -> Dataset:
    """Read a folder of pictures; the classes are the names of `train`'s sub-folders, sorted.

    Args:
        folder: contains train/<class>/ with pictures (`data.pictures.SUFFIXES`), and val/ alike.
        holdout: number of training pictures that become `val` (see `data.dataset.hold_out`); val/ is then not read.
        side: a picture's middle square is resized to this side, in pixels.
        val_only: do not decode the training pictures; `train` is then empty, and nothing else differs. Without
            `holdout`, train/ may be missing; the classes are then those of val/.
        classes: the names of the classes in the order of their labels, for example those of a trained model; a folder
            may have fewer, and train/ and val/ different ones.
        holdout_split: how `holdout` chooses.
        on_disk: check the pictures, but leave them on disk if they need more memory than `IN_MEMORY`; see
            `data.on_disk`.

    Returns:
        a Dataset with the first picture of each class, by name, then the second of each, and so on: so the first few,
        which figures show, are of many classes. `md5` is the MD5 of the list that md5sum prints for the pictures that
        were read: one line "<MD5>  train/<class>/<name>" per picture.

    Raises:
        DataError: the folder is missing; something in it is missing, damaged, out of place or of a class that
            `classes` lacks (`FolderError`); memory does not suffice.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        problem = "is not a folder" if os.path.exists(folder) else "not found"
        raise DataError(
            f"data.file: {folder} {problem}, expected one with {TRAIN}/<class>/ and {VAL}/<class>/ for data.name: "
            "folder",
            key="data.file",
            place=folder,
        )
    alone = val_only and not holdout and not os.path.lexists(folder / TRAIN)
    of_train = {} if alone else _find(folder, TRAIN)
    of_val = {} if holdout else _find(folder, VAL)
    if classes is None:
        own = list(of_val if alone else of_train)
        if len(own) < 2:
            top = folder / (VAL if alone else TRAIN)
            _refuse(top, f"one class ({own[0]}), expected a sub-folder for each of two or more")
        if of_train and of_val:
            _compare(folder, of_train, of_val)
        classes, labels = [_text(name) for name in own], {name: label for label, name in enumerate(own)}
    else:
        # Training pictures that are only part of the identity may be of any class.
        only_named = val_only and not holdout
        labels = dict.fromkeys(of_train, 0) if only_named else _known(folder / TRAIN, of_train, classes)
        labels |= _known(folder / VAL, of_val, classes)
    names, (train, train_labels) = ("training set", "validation set"), _listed(TRAIN, of_train, labels)
    val, val_labels = _listed(VAL, of_val, labels)
    of_all = train_labels
    if holdout:
        names = (KEPT, HELD_OUT)
        kept, held_out = hold_out(folder, holdout, train_labels, classes, holdout_split)
        val, val_labels = [train[i] for i in held_out], train_labels[held_out]
        train, train_labels = [train[i] for i in kept], train_labels[kept]
    decoded = 0 if val_only else len(train)
    files = train + val
    checked = files[len(train) - decoded :]
    stay = on_disk and len(checked) * side * side * 3 > IN_MEMORY
    room = None if stay else _room(folder, len(checked), side)
    md5s, faint = _read(folder, files, side, len(checked), room)
    images = cast(np.ndarray, PicturesOnDisk([folder / file for file in checked], side)) if room is None else room
    validation = Split(names[1], images[decoded:], val_labels)
    notes = about_absent(validation, of_all, classes) if holdout else []
    notes += _twins(train, val, md5s)
    if faint:
        notes.append(pictures.about_faint(faint))
    return Dataset(
        Split(names[0], images[:decoded], train_labels[:decoded]),
        validation,
        list(classes),
        _md5_of_all(files, md5s),
        notes=tuple(notes),
    )


def count_classes(folder: str | Path) -> int:
    """Return how many classes `load` would find, without reading any picture.

    Raises:
        DataError: there are no folders of classes.
    """
    folder = Path(folder)
    return len(_find(folder, TRAIN if os.path.lexists(folder / TRAIN) else VAL))


def _refuse(place: Path, reason: str) -> NoReturn:
    raise FolderError([(place, reason)])


def _find(folder: Path, split: str) -> dict[str, list[str]]:
    """Return the content of a split's folder, {class: names of its pictures}, both sorted."""
    top = folder / split
    if not os.path.isdir(top):
        problem = "not a folder" if os.path.exists(top) else "no such folder"
        _refuse(top, f"{problem}, expected one with a sub-folder for each class{HINTS[split]}")
    found: dict[str, list[str]] = {}
    problems: list[tuple[Path, str]] = []
    for name in _names(top):
        place = top / name
        if not os.path.exists(place):
            problems.append((place, "a broken link, expected the folder of a class: fix or remove it"))
        elif not os.path.isdir(place):
            problems.append((place, "beside the folders of the classes: move it into one of them, or away"))
        else:
            found[name] = _names(place)
            problems += _out_of_place(place, found[name])
    if problems:
        raise FolderError(problems)
    if not found:
        _refuse(top, f"no folders of classes, expected {split}/<class>/ with pictures{HINTS[split]}")
    return found


def _out_of_place(folder: Path, names: list[str]) -> list[tuple[Path, str]]:
    """Return what is wrong with the content of a class's folder."""
    if not names:
        return [(folder, "no pictures in the folder of this class: add some, or remove the class")]
    problems = []
    for name in names:
        if os.path.isdir(folder / name):
            problems.append((folder / name, "a folder inside the folder of a class: move its pictures up, or away"))
        elif not name.lower().endswith(pictures.SUFFIXES):
            suffixes = ", ".join(pictures.SUFFIXES)
            problem = f"not named like a picture, expected {suffixes}: convert it, or move it away"
            problems.append((folder / name, problem))
    return problems


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name[0] != "." and name.lower() not in pictures.LEFT_OUT)
    except OSError as error:
        raise DataError(f"{folder}: not readable ({error.strerror})", key="data.file", place=folder) from error


def _compare(folder: Path, of_train: dict[str, list[str]], of_val: dict[str, list[str]]) -> None:
    """Refuse classes that are not in both splits.

    Two names can look the same and still differ, because some systems compose letters and others take them apart.
    """
    composed = {unicodedata.normalize("NFC", name): name for name in of_train}
    for name in of_val:
        twin = composed.get(unicodedata.normalize("NFC", name), name)
        if name not in of_train and twin != name:
            _refuse(
                folder / VAL / name,
                f"looks like {folder / TRAIN / twin}, but its letters are composed differently (Unicode's NFC and "
                "NFD): rename one of them",
            )
    problems = [
        (folder / VAL / name, f"missing, but {folder / TRAIN / name} is a class: add its pictures")
        for name in of_train
        if name not in of_val
    ]
    problems += [
        (folder / VAL / name, f"a class that is not in {folder / TRAIN}: rename it, or move it away")
        for name in of_val
        if name not in of_train
    ]
    if problems:
        raise FolderError(problems)


def _known(top: Path, found: Mapping[str, list[str]], classes: Sequence[str]) -> dict[str, int]:
    """Return the label of each folder of a split among given classes; refuse folders of other classes."""
    known = positions(map(_text, found), classes)
    problems = [(top / name, "a class that the model does not know") for name in found if known[_text(name)] is None]
    if problems:
        (place, problem), more = problems[-1], ", ..." * (len(classes) > MOST)
        problems[-1] = place, f"{problem}, expected one of {len(classes)}: {', '.join(classes[:MOST])}{more}"
        raise FolderError(problems)
    return {name: label for name in found if (label := known[_text(name)]) is not None}


def _listed(split: str, found: Mapping[str, list[str]], labels: Mapping[str, int]) -> tuple[list[str], np.ndarray]:
    """Return a split's pictures, as names relative to the folder, and their labels int64 [N]."""
    order = sorted((i, labels[name], name) for name in found for i in range(len(found[name])))
    files = [f"{split}/{name}/{found[name][i]}" for i, _, name in order]
    return files, np.array([label for _, label, _ in order], np.int64)


def _read(
    folder: Path, files: list[str], side: int, count: int, images: np.ndarray | None
) -> tuple[list[str], list[tuple[str, int]]]:
    """Read files in threads and decode the last `count` into `images`, uint8 [count, side, side, 3], if given.

    Returns:
        the MD5 of each file, and the faint pictures; see `data.pictures.decode`.
    """
    errors: dict[int, str] = {}
    faint: list[tuple[str, int]] = []

    def read(i: int) -> str:
        file = folder / files[i]
        try:
            content = pictures.content(file)
            if (place := i - len(files) + count) >= 0:
                picture = pictures.decode(content, file, faint)
                if images is not None:
                    images[place] = pictures.to_side(picture, side)
            return hashlib.md5(content).hexdigest()
        except DataError as error:
            errors[i] = str(error).removeprefix(f"{file}: ")
            return ""

    # One thread per core: each holds a picture in its full size.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # Warning filters belong to the process: a thread that restores its own would also undo another thread's.
    with warnings.catch_warnings(), ThreadPoolExecutor(cores) as threads:
        warnings.simplefilter("ignore")
        # A progress bar, on a terminal or in a notebook only: a large folder takes minutes.
        off = False if HAS_WIDGETS else None
        md5s = list(tqdm(threads.map(read, range(len(files))), "pictures", len(files), leave=False, disable=off))
    if errors:
        raise FolderError([(folder / files[i], errors[i]) for i in sorted(errors)])
    return md5s, sorted(faint)


def _twins(train: Sequence[str], val: Sequence[str], md5s: Sequence[str]) -> list[str]:
    """Return a line for the log if files of `val` have the MD5 of one of `train`; `md5s` are of both."""
    of_train = dict(zip(md5s, train, strict=False))
    twins = [(file, of_train[md5]) for file, md5 in zip(val, md5s[len(train) :], strict=True) if md5 in of_train]
    return about_twins(len(twins), len(val), f" (first: {_text(' is '.join(twins[0]))})" if twins else "")


def _md5_of_all(files: list[str], md5s: list[str]) -> str:
    listed = sorted((os.fsencode(file), md5.encode()) for file, md5 in zip(files, md5s, strict=True))
    return hashlib.md5(b"".join(b"%s  %s\n" % (md5, file) for file, md5 in listed)).hexdigest()


def _room(folder: Path, count: int, side: int) -> np.ndarray:
    """Return uninitialized memory for all pictures, uint8 [count, side, side, 3]."""
    needed, available = count * side * side * 3, _memory()
    try:
        if needed > available:
            raise MemoryError
        return np.empty((count, side, side, 3), np.uint8)
    except MemoryError:
        raise DataError(
            f"{folder}: {count:,} pictures of {side} x {side} take {needed / 1e9:,.1f} GB, but this machine has "
            f"{available / 1e9:,.1f} GB of memory: set a smaller data.side",
            key="data.side",
            value=side,
            place=folder,
        ) from None


def _memory() -> int:
    """Return the memory of the machine, or of the container if that has less, in bytes."""
    memory = psutil.virtual_memory().total
    for file in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such limit, or "max"
            memory = min(memory, int(Path(file).read_text(encoding="utf-8")))
    return memory


def _text(name: str) -> str:
    """Return a folder's name as text that can be written anywhere: bytes that are not UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
