"""Writing pictures as an archive in CIFAR-10's layout, for data that are made or come from elsewhere."""

import gzip
import io
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Pictures = tuple[np.ndarray, np.ndarray]  # images uint8 [N, 32, 32, 3], labels [N]
BATCHES = 5  # of CIFAR-10's training pictures


def write_cifar10(file: str | Path, train: Pictures, test: Pictures, classes: Sequence[str]) -> None:
    """Write an archive that `data.load` reads as `cifar10`, the same bytes each time; its folder is created if missing.

    Raises:
        OSError: the file cannot be written.
    """
    parts = np.array_split(np.arange(len(train[1])), BATCHES)
    members = {f"data_batch_{i}": _batch(train[0][part], train[1][part]) for i, part in enumerate(parts, start=1)}
    members["test_batch"] = _batch(*test)
    members["batches.meta"] = {b"label_names": [name.encode() for name in classes]}
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(file, "wb") as stream,
        gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as packed,  # without name and time
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in members.items():
            payload = pickle.dumps(content, protocol=2)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))


def _batch(images: np.ndarray, labels: np.ndarray) -> dict:
    return {b"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1), b"labels": labels.tolist()}
