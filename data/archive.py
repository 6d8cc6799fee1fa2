"""Read CIFAR's archives, `cifar-10-python.tar.gz` and `cifar-100-python.tar.gz`, as checked arrays.

Layout: https://www.cs.toronto.edu/~kriz/cifar.html. There are training batches, a test batch, and a member with the
class names. Each batch holds `data`, uint8 [N, 3072] (red, green and blue planes of 32 x 32), and N labels.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.shell import command

from . import safe_pickle
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
from .download import md5sum

SIDE = 32  # of a picture, in pixels
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Member = dict[str, Any]  # an unpickled member of an archive


@dataclass(frozen=True)
class Archive:
    """A data set's official archive: names of its members and of their keys, and its addresses."""

    title: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str
    addresses: tuple[str, ...]  # tried in this order; the second is Paddle's mirror
    md5: str

    @property
    def members(self) -> tuple[str, ...]:
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


def load(
    file: str | Path,
    name: str,
    holdout: int = 0,
    val_only: bool = False,
    classes: Sequence[str] | None = None,
    holdout_split: str = RANDOM,
) -> Dataset:
    """Read an archive in the layout of one of `ARCHIVES`.

    Args:
        file: path of the `.tar.gz`.
        name: the layout, a key of `ARCHIVES`.
        holdout: number of training pictures that become `val` instead of the test set; see `data.dataset.hold_out`.
        val_only: do not look for training pictures in `val`.
        classes: the names of the classes in the order of their labels; by default the archive's own.
        holdout_split: how `holdout` chooses.

    Raises:
        DataError: the archive is missing, damaged, unsafe, of another layout, too small for `holdout`, or has pictures
            of a class that `classes` lacks.
    """
    layout = ARCHIVES[name]
    members = _read_members(Path(file), name)
    own = _classes(file, layout, members[layout.meta])
    train = _split(file, "training set", layout, layout.train, members, len(own))
    val = _split(file, "test set", layout, [layout.test], members, len(own))
    notes: list[str] = []
    if holdout:
        of_all = train.labels
        kept, held_out = hold_out(file, holdout, of_all, own, holdout_split)
        val = Split(HELD_OUT, train.images[held_out], of_all[held_out])
        train = Split(KEPT, train.images[kept], of_all[kept])
        notes += about_absent(val, of_all, own)
    if not val_only:
        notes += about_twins(_twins(train.images, val.images), len(val))
    if classes is not None and list(classes) != own:
        train, val = (_relabelled(file, layout, split, own, classes) for split in (train, val))
    md5 = md5sum(file)
    return Dataset(train, val, own if classes is None else list(classes), md5, md5 == layout.md5, tuple(notes))


def _twins(train: np.ndarray, val: np.ndarray) -> int:
    """Return how many pictures of `val` are in `train` too, bit for bit."""
    digests = {hashlib.blake2b(image, digest_size=16).digest() for image in train}
    return sum(hashlib.blake2b(image, digest_size=16).digest() in digests for image in val)


def _relabelled(file: str | Path, layout: Archive, split: Split, own: list[str], classes: Sequence[str]) -> Split:
    """Return a split with labels that count in `classes` instead of in the archive's own."""
    known = positions(own, classes)
    if unknown := [own[label] for label in np.unique(split.labels) if known[own[label]] is None]:
        raise DataError(
            f"{file}: the model does not know the class {', '.join(unknown[:20])}{', ...' * (len(unknown) > 20)}: give "
            "data of its classes",
            key=layout.names,
            value=unknown[0],
            place=file,
        )
    labels = np.array([-1 if known[name] is None else known[name] for name in own], np.int64)
    return Split(split.name, split.images, labels[split.labels])


def _read_members(file: Path, dataset: str) -> dict[str, Member]:
    title, wanted = ARCHIVES[dataset].title, ARCHIVES[dataset].members
    members: dict[str, Member] = {}
    present = set()
    try:
        with tarfile.open(file, "r:gz") as archive:
            for entry in archive:
                name = Path(entry.name).name
                if name in wanted and (stream := entry.isfile() and archive.extractfile(entry)):
                    members[name] = _unpickle(file, name, dataset, stream.read())
                present.add(name)
            while archive.fileobj.read(1 << 20):
                pass  # to the end, where gzip's checksum is
    except FileNotFoundError:
        digits = ", or make the demo's digits by `python tools/make_digits.py`" if dataset == "cifar10" else ""
        get = command("python", f"tools/get_{dataset}.py", "--output", file)
        raise DataError(
            f"data.file: {file} not found: download {title} by `{get}` or data.download=true{digits}",
            key="data.file",
            place=file,
        ) from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"data.file: {file} is not a whole .tar.gz archive ({error}): move it away and download it again",
            key="data.file",
            place=file,
        ) from error
    except OSError as error:
        if file.is_dir():
            raise DataError(
                f"data.file: {file} is a folder, expected an archive of {title}: for pictures in class sub-folders, "
                "set data.name=folder",
                key="data.file",
                place=file,
            ) from None
        raise DataError(
            f"data.file: {file} is not readable ({error}): give the path of an archive", key="data.file", place=file
        ) from error
    missing = [name for name in wanted if name not in members]
    fits = next((name for name, archive in ARCHIVES.items() if present.issuperset(archive.members)), None)
    if missing and fits:
        raise DataError(
            f"data.name: {dataset}, but {file} has the layout of {ARCHIVES[fits].title}: set data.name={fits}",
            key="data.name",
            value=dataset,
            place=file,
        )
    if missing:
        raise DataError(
            f"{file} lacks {', '.join(missing)}: the Python version of {title} has {', '.join(wanted)}",
            key=missing[0],
            place=file,
        )
    return members


def _unpickle(file: Path, name: str, dataset: str, content: bytes) -> Member:
    try:
        batch = safe_pickle.load(io.BytesIO(content))
    except safe_pickle.PickleRefused as error:
        raise DataError(
            f"{file}: {name} {error}; download the official archive by `python tools/get_{dataset}.py`",
            key=name,
            place=file,
        ) from error
    if not isinstance(batch, dict):
        kind = type(batch).__name__
        raise DataError(
            f"{file}: {name} holds a {kind}, expected the dictionary of {ARCHIVES[dataset].title}",
            key=name,
            value=kind,
            place=file,
        )
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}


def _classes(file: str | Path, layout: Archive, meta: Member) -> list[str]:
    names = meta.get(layout.names)
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(
            f"{file}: {layout.meta} lacks `{layout.names}`, expected a list of two or more class names",
            key=layout.names,
            place=file,
        )
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names]


def _split(
    file: str | Path, split: str, layout: Archive, batches: Sequence[str], members: dict[str, Member], num_classes: int
) -> Split:
    parts = [_batch(file, layout, name, members[name], num_classes) for name in batches]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if not len(labels):
        raise DataError(
            f"{file}: the {split} ({', '.join(batches)}) has no pictures: download the official archive",
            key=batches[0],
            place=file,
        )
    return Split(split, np.ascontiguousarray(images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), labels)


def _batch(
    file: str | Path, layout: Archive, name: str, batch: Member, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    data, labels = batch.get("data"), batch.get(layout.labels)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(
            f"{file}: `data` of {name} is {found}, expected uint8 [N, 3072]", key="data", value=found, place=file
        )
    try:
        labels = np.asarray(labels)
    except ValueError:  # lists of several lengths
        labels = np.array(None)
    if labels.shape != (len(data),) or (len(data) and labels.dtype.kind not in "iu"):
        found = f"{labels.dtype} {list(labels.shape)}"
        raise DataError(
            f"{file}: `{layout.labels}` of {name} is {found}, expected {len(data)} integers, one per row",
            key=layout.labels,
            value=found,
            place=file,
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        label = int(labels[wrong[0]])
        raise DataError(
            f"{file}: `{layout.labels}` of {name} has {label} in row {wrong[0]}, expected 0 to {num_classes - 1} "
            f"({num_classes} class names in {layout.meta})",
            key=layout.labels,
            value=label,
            place=file,
        )
    return data, labels.astype(np.int64)
