"""Data for training and evaluation: CIFAR's archives or a folder of pictures, and loaders over them."""

from paddle.io import BatchSampler

from . import archive, folder
from .archive import ARCHIVES, SIDE
from .dataset import DataError, Dataset, Split
from .fast import FastEvalLoader, FastTrainLoader
from .host import AS_THE_NOTEBOOK, Augmentation, EvaluationPictures, TrainingPictures, evaluation_transform, unnormalise
from .sampler import EpochBatchSampler
from .workers import WorkerLoader, check

__all__ = [
    "ARCHIVES",
    "FOLDER",
    "SIDE",
    "Augmentation",
    "DataError",
    "Dataset",
    "EpochBatchSampler",
    "Split",
    "build_eval_loader",
    "build_train_loader",
    "evaluation_transform",
    "load",
    "unnormalise",
]

FOLDER = "folder"  # what is no archive: class sub-folders of pictures


def load(file, name="cifar10", holdout=0, side=SIDE, val_only=False):
    """Read a data set: `name` says what `file` is, one of `ARCHIVES` or `FOLDER`, whose pictures are kept at `side`.

    Args:
        val_only: `train` is not needed, and of a folder has no pictures: decoding them takes long.

    Raises:
        DataError: see `data.archive.load` and `data.folder.load`.
    """
    return folder.load(file, holdout, side, val_only) if name == FOLDER else archive.load(file, name, holdout)


def build_train_loader(
    split,
    *,
    batch_size,
    image_size,
    num_workers,
    seed,
    augmentation=AS_THE_NOTEBOOK,
    pipeline="host",
    on_device=False,
    part=0,
    parts=1,
):
    """Return a loader of batches (pictures float32 [batch, 3, size, size], labels int64 [batch]) to train on.

    Call `loader.batch_sampler.set_epoch(epoch)` before each epoch.

    Args:
        pipeline: `host` works in processes as the notebook does, `fast` in threads.
        on_device: let `fast` work on Paddle's current device.
        part, parts: which of several processes this is; see `EpochBatchSampler`.

    Raises:
        DataError: the split is smaller than one batch of all processes, or workers cannot be started.
    """
    if len(split) < batch_size * parts:
        of_each = f" for each of {parts} processes" if parts > 1 else ""
        raise DataError(
            f"the {split.name} has {len(split)} pictures, fewer than one batch of {batch_size}{of_each}: "
            "lower data.batch_size"
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
    check(num_workers)
    return WorkerLoader(TrainingPictures(split, image_size, seed, augmentation), sampler, num_workers)


def build_eval_loader(split, *, batch_size, image_size, num_workers, pipeline="host"):
    """Return a loader of batches (pictures, labels) in order, nothing dropped; `fast` needs no workers for it."""
    if pipeline == "fast":
        return FastEvalLoader(split, batch_size=batch_size, image_size=image_size)
    dataset = EvaluationPictures(split, image_size)
    return WorkerLoader(dataset, BatchSampler(dataset, batch_size=batch_size), num_workers)
