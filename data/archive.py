"""CIFAR's archives, `cifar-10-python.tar.gz` and `cifar-100-python.tar.gz`, as arrays, checked.

Layout: https://www.cs.toronto.edu/~kriz/cifar.html. Training batches, a test batch, and a member with the names of the
classes; each batch holds `data`, uint8 [N, 3072] (red, green, blue planes of 32 x 32), and N labels.
"""

import gzip
import io
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import safe_pickle
from .dataset import HELD_OUT, KEPT, DataError, Dataset, Split, hold_out
from .download import md5sum

SIDE = 32  # pixels of a picture


@dataclass(frozen=True)
class Archive:
    """A data set's official archive: how its members and their keys are called, and where it is."""

    title: str
    train: tuple
    test: str
    meta: str
    labels: str
    names: str
    addresses: tuple  # in the order in which they are tried; the second is Paddle's mirror
    md5: str

    @property
    def members(self):
        return (*self.train, self.test, self.meta)


ARCHIVES = {
    "cifar10": Archive(
        title="CIFAR-10",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test="test_batch",
        meta="batches.meta",
        labels="labels",
        names="label_names",
        addresses=(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
        ),
        md5="c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100": Archive(
        title="CIFAR-100",
        train=("train",),
        test="test",
        meta="meta",
        labels="fine_labels",
        names="fine_label_names",
        addresses=(
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "https://dataset.bj.bcebos.com/cifar/cifar-100-python.tar.gz",
        ),
        md5="eb9058c3a382ffc7106e4002c42a8d85",
    ),
}


def load(file, name, holdout=0):
    """Read an archive in the layout of one of `ARCHIVES`.

    Args:
        file: path of the `.tar.gz`.
        holdout: take that many training pictures of a fixed, seeded permutation as `val` in place of the test set.

    Raises:
        DataError: the archive is missing, damaged, unsafe or of another layout, or too small for `holdout`.
    """
    layout = ARCHIVES[name]
    members = _read_members(Path(file), name)
    classes = _classes(file, layout, members[layout.meta])
    train = _split(file, "training set", layout, layout.train, members, len(classes))
    val = _split(file, "test set", layout, [layout.test], members, len(classes))
    if holdout:
        kept, held_out = hold_out(file, holdout, train.labels, classes)
        val = Split(HELD_OUT, train.images[held_out], train.labels[held_out])
        train = Split(KEPT, train.images[kept], train.labels[kept])
    md5 = md5sum(file)
    return Dataset(train, val, classes, md5, official=md5 == layout.md5)


def _read_members(file, dataset):
    title, wanted = ARCHIVES[dataset].title, ARCHIVES[dataset].members
    members, present = {}, set()
    try:
        with tarfile.open(file, "r:gz") as archive:
            for entry in archive:
                name = Path(entry.name).name
                if entry.isfile() and name in wanted:
                    members[name] = _unpickle(file, name, dataset, archive.extractfile(entry).read())
                present.add(name)
            while archive.fileobj.read(1 << 20):
                pass  # on to the end, where gzip's checksum is
    except FileNotFoundError:
        digits = ", or make the demo's digits by `python tools/make_digits.py`" if dataset == "cifar10" else ""
        raise DataError(
            f"data.file: {file} not found: download {title} by `python tools/get_{dataset}.py --output {file}` or "
            f"data.download=true{digits}"
        ) from None
    except IsADirectoryError:
        raise DataError(
            f"data.file: {file} is a folder, expected an archive of {title}: for pictures in class sub-folders, set "
            "data.name=folder"
        ) from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file} is no whole .tar.gz archive ({error}): move it away and get it again") from error
    except OSError as error:
        raise DataError(f"data.file: {file} is not readable ({error}): give the path of an archive") from error
    missing = [name for name in wanted if name not in members]
    fits = next((name for name, archive in ARCHIVES.items() if present.issuperset(archive.members)), None)
    if missing and fits:
        raise DataError(
            f"data.name: {dataset}, but {file} has the layout of {ARCHIVES[fits].title}: set data.name={fits}"
        )
    if missing:
        raise DataError(f"{file} has no {', '.join(missing)}: {title}'s python version has {', '.join(wanted)}")
    return members


def _unpickle(file, name, dataset, content):
    try:
        batch = safe_pickle.load(io.BytesIO(content))
    except safe_pickle.PickleRefused as error:
        raise DataError(
            f"{file}: {name} {error}; get the official archive by `python tools/get_{dataset}.py`"
        ) from error
    if not isinstance(batch, dict):
        raise DataError(f"{file}: {name} holds a {type(batch).__name__}, not {ARCHIVES[dataset].title}'s dictionary")
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}


def _classes(file, layout, meta):
    names = meta.get(layout.names)
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(f"{file}: {layout.meta} has no list `{layout.names}` of two or more class names")
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names]


def _split(file, split, layout, batches, members, num_classes):
    images, labels = zip(*(_batch(file, layout, name, members[name], num_classes) for name in batches), strict=True)
    images, labels = np.concatenate(images), np.concatenate(labels)
    if not len(labels):
        raise DataError(f"{file}: the {split} has no pictures")
    return Split(split, np.ascontiguousarray(images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), labels)


def _batch(file, layout, name, batch, num_classes):
    data, labels = batch.get("data"), batch.get(layout.labels)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{file}: `data` of {name} is {found}, expected uint8 [N, 3072]")
    try:
        labels = np.asarray(labels)
    except ValueError:  # lists of several lengths
        labels = np.array(None)
    if labels.shape != (len(data),) or (len(data) and labels.dtype.kind not in "iu"):
        raise DataError(
            f"{file}: `{layout.labels}` of {name} is {labels.dtype} {list(labels.shape)}, "
            f"expected {len(data)} integers, one a row"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise DataError(
            f"{file}: label {labels[wrong[0]]} in row {wrong[0]} of {name}, expected 0 to {num_classes - 1} "
            f"({num_classes} class names in {layout.meta})"
        )
    return data, labels.astype(np.int64)
