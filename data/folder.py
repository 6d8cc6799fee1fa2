"""Read pictures in class sub-folders, `train/<class>/` and `val/<class>/`, as checked arrays."""

import contextlib
import hashlib
import os
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from . import pictures
from .dataset import HELD_OUT, KEPT, DataError, Dataset, Split, hold_out

TRAIN, VAL = "train", "val"
HINTS = {TRAIN: "", VAL: "; or set data.holdout=N to validate on N of the training pictures"}
# Files that operating systems put into folders, besides hidden ones.
LEFT_OUT = {"thumbs.db", "desktop.ini"}
# Linux gives a container's memory limit here: version 2 of control groups, and version 1.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def load(folder: str | Path, holdout: int, side: int, val_only: bool = False) -> Dataset:
    """Read a folder of pictures; the classes are the names of `train`'s sub-folders, sorted.

    Args:
        folder: contains train/<class>/*.jpg or .png, and val/ alike.
        holdout: number of training pictures that become `val` (see `data.dataset.hold_out`); val/ is then not read.
        side: a picture's middle square is resized to this side, in pixels.
        val_only: do not decode the training pictures; `train` is then empty, and nothing else differs.

    Returns:
        a Dataset with the first picture of each class, by name, then the second of each, and so on: so the first few,
        which figures show, are of many classes. `md5` is the MD5 of the list that md5sum prints for the pictures that
        were read: one line "<MD5>  train/<class>/<name>" per picture.

    Raises:
        DataError: the folder is missing; something in it is missing, damaged or out of place; memory does not suffice.
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
    found = _find(folder, TRAIN)
    classes = list(found)
    if len(classes) < 2:
        _refuse(folder / TRAIN, f"one class ({classes[0]}), expected a sub-folder for each of two or more")
    names, (train, train_labels) = ("training set", "validation set"), _listed(TRAIN, found, classes)
    if holdout:
        names, (kept, held_out) = (KEPT, HELD_OUT), hold_out(folder, holdout, train_labels, classes)
        val, val_labels = [train[i] for i in held_out], train_labels[held_out]
        train, train_labels = [train[i] for i in kept], train_labels[kept]
    else:
        of_val = _find(folder, VAL)
        _compare(folder, found, of_val)
        val, val_labels = _listed(VAL, of_val, classes)
    decoded = 0 if val_only else len(train)
    images, md5s = _read(folder, train + val, side, decoded + len(val))
    return Dataset(
        Split(names[0], images[:decoded], train_labels[:decoded]),
        Split(names[1], images[decoded:], val_labels),
        [_text(name) for name in classes],
        _md5_of_all(train + val, md5s),
    )


def _refuse(place: Path, reason: str) -> NoReturn:
    raise DataError(f"{place}: {reason}", key="data.file", place=place)


def _find(folder: Path, split: str) -> dict[str, list[str]]:
    """Return the content of a split's folder, {class: names of its pictures}, both sorted."""
    top = folder / split
    if not os.path.isdir(top):
        problem = "not a folder" if os.path.exists(top) else "no such folder"
        _refuse(top, f"{problem}, expected one with a sub-folder for each class{HINTS[split]}")
    found = {}
    for name in _names(top):
        place = top / name
        if not os.path.exists(place):
            _refuse(place, "a broken link, expected the folder of a class: fix or remove it")
        if not os.path.isdir(place):
            _refuse(place, "beside the folders of the classes: move it into one of them, or away")
        found[name] = _names(place)
        for file in found[name]:
            if os.path.isdir(place / file):
                _refuse(place / file, "a folder inside the folder of a class: move its pictures up, or away")
            if not file.lower().endswith(pictures.SUFFIXES):
                suffixes = ", ".join(pictures.SUFFIXES)
                _refuse(place / file, f"not named like a picture, expected {suffixes}: convert it, or move it away")
        if not found[name]:
            _refuse(place, "no pictures in the folder of this class: add some, or remove the class")
    if not found:
        _refuse(top, f"no folders of classes, expected {split}/<class>/ with JPEG or PNG files{HINTS[split]}")
    return found


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name[0] != "." and name.lower() not in LEFT_OUT)
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
    for name in of_train:
        if name not in of_val:
            _refuse(folder / VAL / name, f"missing, but {folder / TRAIN / name} is a class: add its pictures")
    for name in of_val:
        if name not in of_train:
            _refuse(folder / VAL / name, f"a class that is not in {folder / TRAIN}: rename it, or move it away")


def _listed(split: str, found: dict[str, list[str]], classes: list[str]) -> tuple[list[str], np.ndarray]:
    """Return a split's pictures, as names relative to the folder, and their labels int64 [N]."""
    order = sorted((i, label) for label, name in enumerate(classes) for i in range(len(found[name])))
    files = [f"{split}/{classes[label]}/{found[classes[label]][i]}" for i, label in order]
    return files, np.array([label for _, label in order], np.int64)


def _read(folder: Path, files: list[str], side: int, count: int) -> tuple[np.ndarray, list[str]]:
    """Read files in threads and decode the last `count` -> uint8 [count, side, side, 3], and the MD5 of each file."""
    images = _room(folder, count, side)
    errors: dict[int, DataError] = {}

    def read(i: int) -> str:
        file = folder / files[i]
        try:
            content = pictures.content(file)
            if (place := i - len(files) + count) >= 0:
                images[place] = pictures.to_side(pictures.decode(content, file), side)
            return hashlib.md5(content).hexdigest()
        except DataError as error:
            errors[i] = error
            return ""

    # One thread per core: each holds a picture in its full size.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # Warning filters belong to the process: a thread that restores its own would also undo another thread's.
    with warnings.catch_warnings(), ThreadPoolExecutor(cores) as threads:
        warnings.simplefilter("ignore")
        # A progress bar, on a terminal only: a large folder takes minutes.
        md5s = list(tqdm(threads.map(read, range(len(files))), "pictures", len(files), leave=False, disable=None))
    if errors:
        first, more = errors[min(errors)], len(errors) - 1
        message = f"{first}; {more} more cannot be read either" if more else str(first)
        raise DataError(message, key="data.file", place=first.place) from first
    return images, md5s


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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such limit, or "max"
            memory = min(memory, int(Path(file).read_text()))
    return memory


def _text(name: str) -> str:
    """Return a folder's name as text that can be written anywhere: bytes that are not UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
