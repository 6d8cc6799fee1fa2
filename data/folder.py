"""One's own pictures in class sub-folders, `train/<class>/` and `val/<class>/`, as arrays, checked."""

import contextlib
import hashlib
import os
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import pictures
from .dataset import HELD_OUT, KEPT, DataError, Dataset, Split, hold_out

TRAIN, VAL = "train", "val"
HINTS = {TRAIN: "", VAL: "; or set data.holdout=N to validate on N of the training pictures"}
# What systems leave in folders, beside hidden files.
LEFT_OUT = {"thumbs.db", "desktop.ini"}
# Where Linux says how much memory a container has: its control groups' second version, and the first.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def load(folder, holdout, side, val_only=False):
    """Read a folder of pictures; the classes are the names of `train`'s sub-folders, in their order.

    Args:
        folder: it has train/<class>/*.jpg or .png, and val/ alike.
        holdout: take that many training pictures of a fixed, seeded permutation as `val`; val/ is then not read.
        side: of the middle square that a picture is reduced (or enlarged) to, in pixels.
        val_only: do not decode the training pictures; `train` then has none, and nothing else is different.

    Returns:
        a Dataset with the first picture of each class, by their names, then the second of each, and so on, so that
        the first few, which figures show, are of many classes; `md5` is that of the list that md5sum makes of the
        pictures that were read: a line "<MD5>  train/<class>/<name>" each.

    Raises:
        DataError: no such folder; something in it is missing, damaged or out of place; it does not fit into memory.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        what = f"data.file: {folder} {'is not a folder' if os.path.exists(folder) else 'not found'}"
        raise DataError(f"{what}, expected one with {TRAIN}/<class>/ and {VAL}/<class>/, as data.name: folder has it")
    found = _find(folder, TRAIN)
    classes = list(found)
    if len(classes) < 2:
        raise DataError(f"{folder / TRAIN}: one class ({classes[0]}), expected a sub-folder each of two or more")
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


def _find(folder, split):
    """Return what lies in a split's folder, {class: names of its pictures}, both in order."""
    top = folder / split
    if not os.path.isdir(top):
        what = "not a folder" if os.path.exists(top) else "no such folder"
        raise DataError(f"{top}: {what}, expected one with a sub-folder for each class{HINTS[split]}")
    found = {}
    for name in _names(top):
        place = top / name
        if not os.path.exists(place):
            raise DataError(f"{place}: a link that leads nowhere, expected the folder of a class: mend or remove it")
        if not os.path.isdir(place):
            raise DataError(f"{place}: lies beside the folders of the classes: move it into one of them, or away")
        found[name] = _names(place)
        for file in found[name]:
            if os.path.isdir(place / file):
                raise DataError(f"{place / file}: a folder inside the folder of a class: move its pictures up, or away")
            if not file.lower().endswith(pictures.SUFFIXES):
                raise DataError(
                    f"{place / file}: not named as a picture, expected {', '.join(pictures.SUFFIXES)}: convert it, or "
                    "move it away"
                )
        if not found[name]:
            raise DataError(f"{place}: no pictures in the folder of this class: add some, or remove the class")
    if not found:
        raise DataError(f"{top}: no folders of classes, expected {split}/<class>/ with JPEG or PNG files{HINTS[split]}")
    return found


def _names(folder):
    try:
        return sorted(name for name in os.listdir(folder) if name[0] != "." and name.lower() not in LEFT_OUT)
    except OSError as error:
        raise DataError(f"{folder}: not readable ({error.strerror})") from error


def _compare(folder, of_train, of_val):
    """Refuse classes that are not in both splits; names that only look the same come of systems that compose letters
    differently."""
    of_both = {unicodedata.normalize("NFC", name): name for name in of_train}
    for name in of_val:
        twin = of_both.get(unicodedata.normalize("NFC", name), name)
        if name not in of_train and twin != name:
            raise DataError(
                f"{folder / VAL / name}: looks like {folder / TRAIN / twin}, but its letters are composed in another "
                "way (Unicode's NFC and NFD): rename one as the other"
            )
    for name in of_train:
        if name not in of_val:
            raise DataError(f"{folder / VAL / name}: missing, but {folder / TRAIN / name} is a class: add its pictures")
    for name in of_val:
        if name not in of_train:
            raise DataError(f"{folder / VAL / name}: a class that {folder / TRAIN} has not: rename it, or move it away")


def _listed(split, found, classes):
    """Return a split's pictures, names relative to the folder, and their labels int64 [N]."""
    order = sorted((i, label) for label, name in enumerate(classes) for i in range(len(found[name])))
    files = [f"{split}/{classes[label]}/{found[classes[label]][i]}" for i, label in order]
    return files, np.array([label for _, label in order], np.int64)


def _read(folder, files, side, count):
    """Read files in threads, decode the last `count`: -> uint8 [count, side, side, 3], and the MD5 of each file."""
    images, errors = _room(folder, count, side), {}

    def read(i):
        file = folder / files[i]
        try:
            content = pictures.content(file)
            if (place := i - len(files) + count) >= 0:
                images[place] = pictures.to_side(pictures.decode(content, file), side)
            return hashlib.md5(content).hexdigest()
        except DataError as error:
            errors[i] = str(error)

    # Filters of warnings are the process's: a thread that undoes its own would undo another's, too.
    # As many as there are cores: each holds a picture as large as it is in its file.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with warnings.catch_warnings(), ThreadPoolExecutor(cores) as threads:
        warnings.simplefilter("ignore")
        # A bar on a terminal only: a large folder takes minutes.
        md5s = list(tqdm(threads.map(read, range(len(files))), "pictures", len(files), leave=False, disable=None))
    if errors:
        first, more = errors[min(errors)], len(errors) - 1
        raise DataError(first + (f"; {more} more cannot be read either" if more else ""))
    return images, md5s


def _md5_of_all(files, md5s):
    listed = sorted((os.fsencode(file), md5.encode()) for file, md5 in zip(files, md5s, strict=True))
    return hashlib.md5(b"".join(b"%s  %s\n" % (md5, file) for file, md5 in listed)).hexdigest()


def _room(folder, count, side):
    """Return memory for all pictures."""
    needed, there = count * side * side * 3, _memory()
    try:
        if needed > there:
            raise MemoryError
        return np.empty((count, side, side, 3), np.uint8)
    except MemoryError:
        raise DataError(
            f"{folder}: {count:,} pictures of {side} x {side} take {needed / 1e9:,.1f} GB, and this machine has "
            f"{there / 1e9:,.1f} GB of memory: set a smaller data.side"
        ) from None


def _memory():
    """Return the bytes of memory that the machine has, or the container on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such limit, or "max"
            memory = min(memory, int(Path(file).read_text()))
    return memory


def _text(name):
    """Return a folder's name as text that can be written anywhere: bytes that are no UTF-8 become their escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
