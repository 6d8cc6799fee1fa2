"""Data for training and evaluation: CIFAR's archives or a folder of pictures, and loaders over them."""

import common  # noqa: F401  (before Paddle)

# isort: split
from collections.abc import Sequence
from pathlib import Path

from paddle.io import BatchSampler

from . import archive, cifar10_1, folder
from .archive import ARCHIVES, SIDE
from .dataset import RANDOM, STRATIFIED, DataError, Dataset, Split
from .epoch import AS_THE_NOTEBOOK, Augmentation
from .evaluation import EvaluationPictures
from .fast import FastEvalLoader, FastTrainLoader
from .host import TrainingPictures
from .loader import HostLoader
from .normalise import unnormalise
from .sampler import EpochBatchSampler

__all__ = [
    "ARCHIVES",
    "CIFAR10_1",
    "FOLDER",
    "RANDOM",
    "SIDE",
    "STRATIFIED",
    "Augmentation",
    "DataError",
    "Dataset",
    "EpochBatchSampler",
    "Split",
    "build_eval_loader",
    "build_train_loader",
    "has_test_set",
    "load",
    "unnormalise",
]

CIFAR10_1 = "cifar10.1"  # the name of new test pictures for models of CIFAR-10
FOLDER = "folder"  # the name of data that are not an archive: pictures in class sub-folders


def load(
    file: str | Path,
    name: str = "cifar10",
    holdout: int = 0,
    side: int = SIDE,
    val_only: bool = False,
    classes: Sequence[str] | None = None,
    holdout_split: str = RANDOM,
    on_disk: bool = False,
) -> Dataset:
    """Read a data set.

    Args:
        file: an archive or a folder.
        name: its kind, one of `ARCHIVES`, `CIFAR10_1` (which has nothing to train on) or `FOLDER`.
        holdout: number of training pictures that become `val`; 0 takes the data set's own second split.
        side: side of a folder's pictures in pixels, after resizing.
        val_only: `train` is not needed. It is then empty for a folder, because decoding takes long; and without
            `holdout` a folder needs no train/.
        classes: the names of the classes in the order of their labels, for example those of a trained model, for data
            whose classes are fewer or in another order; by default the data's own.
        holdout_split: how pictures are held out, `RANDOM` or `STRATIFIED`; see `data.dataset.hold_out`.
        on_disk: a folder's pictures may stay on disk if they are many, for tools that need few of them at a time.

    Raises:
        DataError: see `data.archive.load`, `data.cifar10_1.load` and `data.folder.load`.
    """
    if name == CIFAR10_1:
        return cifar10_1.load(file, classes)
    if name == FOLDER:
        return folder.load(file, holdout, side, val_only, classes, holdout_split, on_disk)
    return archive.load(file, name, holdout, val_only, classes, holdout_split)


def has_test_set(file: str | Path, name: str) -> bool:
    """Return whether a data set has pictures that are not to train on, as every archive has, and a folder with val/."""
    return name != FOLDER or (Path(file) / folder.VAL).is_dir()


def build_train_loader(
    split: Split,
    *,
    batch_size: int,
    image_size: int,
    num_workers: int,
    seed: int,
    augmentation: Augmentation = AS_THE_NOTEBOOK,
    pipeline: str = "host",
    on_device: bool = False,
    part: int = 0,
    parts: int = 1,
) -> HostLoader | FastTrainLoader:
    """Return a loader of batches (pictures float32 [batch, 3, size, size], labels int64 [batch]) to train on.

    Call `loader.batch_sampler.set_epoch(epoch)` before each epoch.

    Args:
        pipeline: `host` works in processes as the notebook does, `fast` in threads.
        on_device: let `fast` work on Paddle's current device.
        part, parts: the number of this process, and the number of processes; see `EpochBatchSampler`.

    Raises:
        DataError: the split is smaller than one batch of all processes, or workers cannot be started.
    """
    if len(split) < batch_size * parts:
        processes = f" for each of {parts} processes" if parts > 1 else ""
        raise DataError(
            f"data.batch_size: the {split.name} has {len(split)} pictures, fewer than one batch of "
            f"{batch_size}{processes}: lower it",
            key="data.batch_size",
            value=batch_size,
        )
    sampler = EpochBatchSampler(len(split), batch_size, seed, part, parts)
    if pipeline == "fast":
        return FastTrainLoader(
            split,
            sampler,
            image_size=image_size,
            num_workers=num_workers,
            seed=seed,
            augmentation=augmentation,
            on_device=on_device,
        )
    return HostLoader(TrainingPictures(split, image_size, seed, augmentation), sampler, num_workers)


def build_eval_loader(
    split: Split, *, batch_size: int, image_size: int, num_workers: int, pipeline: str = "host"
) -> HostLoader | FastEvalLoader:
    """Return a loader of batches (pictures, labels) in order, without dropping any; `fast` needs no workers."""
    if pipeline == "fast":
        return FastEvalLoader(split, batch_size=batch_size, image_size=image_size)
    dataset = EvaluationPictures(split, image_size)
    return HostLoader(dataset, BatchSampler(dataset, batch_size=batch_size), num_workers)
