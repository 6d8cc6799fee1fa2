"""The CIFAR-10 archive `cifar-10-python.tar.gz` as arrays, checked.

Layout: https://www.cs.toronto.edu/~kriz/cifar.html. Five training batches, a test batch, and `batches.meta` with the
names of the classes; each batch holds `data`, uint8 [N, 3072] (red, green, blue planes of 32 x 32), and N `labels`.
"""

import gzip
import io
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import safe_pickle

TRAIN_BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
TEST_BATCHES = ["test_batch"]
META = "batches.meta"
SIDE = 32  # pixels of a picture
HOLDOUT_SEED = 42  # one fixed permutation, so that runs with different seeds are validated on the same pictures


class DataError(ValueError):
    """The data cannot be used; the message is one line that says where, what and what to do."""


@dataclass(frozen=True)
class Split:
    """Pictures of one split: images uint8 [N, 32, 32, 3] (RGB) and labels int64 [N]."""

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
class Cifar10:
    """Both splits and the names of the classes; `val` is the test set, or what was held out of the training set."""

    train: Split
    val: Split
    classes: list[str]


def load(file, holdout=0):
    """Read an archive in CIFAR-10's layout.

    Args:
        file: path of the `.tar.gz`.
        holdout: take that many training pictures of a fixed, seeded permutation as `val` in place of the test set.

    Raises:
        DataError: the archive is missing, damaged, unsafe or not CIFAR-10, or too small for `holdout`.
    """
    members = _read_members(Path(file))
    classes = _classes(file, members[META])
    train = _split(file, "training set", TRAIN_BATCHES, members, len(classes))
    test = _split(file, "test set", TEST_BATCHES, members, len(classes))
    if not holdout:
        return Cifar10(train, test, classes)
    if holdout >= len(train):
        raise DataError(f"data.holdout: {holdout}, but {file} has {len(train)} training pictures: hold out fewer")
    order = np.random.RandomState(HOLDOUT_SEED).permutation(len(train))
    held_out, kept = np.sort(order[:holdout]), np.sort(order[holdout:])
    return Cifar10(
        Split("training set without held-out pictures", train.images[kept], train.labels[kept]),
        Split("held-out training pictures", train.images[held_out], train.labels[held_out]),
        classes,
    )


def _read_members(file):
    wanted = [*TRAIN_BATCHES, *TEST_BATCHES, META]
    members = {}
    try:
        with tarfile.open(file, "r:gz") as archive:
            for entry in archive:
                name = Path(entry.name).name
                if entry.isfile() and name in wanted:
                    members[name] = _unpickle(file, name, archive.extractfile(entry).read())
            while archive.fileobj.read(1 << 20):
                pass  # on to the end, where gzip's checksum is
    except FileNotFoundError:
        raise DataError(
            f"data.file: {file} not found: download CIFAR-10 by `python tools/get_cifar10.py --output {file}` or "
            "data.download=true, or make the demo's digits by `python tools/make_digits.py`"
        ) from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file} is no whole .tar.gz archive ({error}): move it away and get it again") from error
    except OSError as error:
        raise DataError(f"data.file: {file} is not readable ({error}): give the path of an archive") from error
    missing = [name for name in wanted if name not in members]
    if missing:
        raise DataError(f"{file} has no {', '.join(missing)}: CIFAR-10's python version has {', '.join(wanted)}")
    return members


def _unpickle(file, name, content):
    try:
        batch = safe_pickle.load(io.BytesIO(content))
    except safe_pickle.PickleRefused as error:
        raise DataError(f"{file}: {name} {error}; get the official archive by `python tools/get_cifar10.py`") from error
    if not isinstance(batch, dict):
        raise DataError(f"{file}: {name} holds a {type(batch).__name__}, not CIFAR-10's dictionary")
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}


def _classes(file, meta):
    names = meta.get("label_names")
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(f"{file}: {META} has no list `label_names` of two or more class names")
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names]


def _split(file, split, batches, members, num_classes):
    images, labels = zip(*(_batch(file, name, members[name], num_classes) for name in batches), strict=True)
    images, labels = np.concatenate(images), np.concatenate(labels)
    if not len(labels):
        raise DataError(f"{file}: the {split} has no pictures")
    return Split(split, np.ascontiguousarray(images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), labels)


def _batch(file, name, batch, num_classes):
    data, labels = batch.get("data"), batch.get("labels")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{file}: `data` of {name} is {found}, expected uint8 [N, 3072]")
    try:
        labels = np.asarray(labels)
    except ValueError:  # lists of several lengths
        labels = np.array(None)
    if labels.shape != (len(data),) or (len(data) and labels.dtype.kind not in "iu"):
        raise DataError(
            f"{file}: `labels` of {name} is {labels.dtype} {list(labels.shape)}, "
            f"expected {len(data)} integers, one a row"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise DataError(
            f"{file}: label {labels[wrong[0]]} in row {wrong[0]} of {name}, expected 0 to {num_classes - 1} "
            f"({num_classes} class names in {META})"
        )
    return data, labels.astype(np.int64)
