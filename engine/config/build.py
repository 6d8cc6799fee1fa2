"""The one place where the values of a config become objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paddle

import data
import models
from common.words import counted
from data import Augmentation, DataError, Dataset, folder
from data.download import download
from data.folder import MOST, FolderError
from data.mixing import Mixing
from engine.config.options import Config
from engine.errors import UserError
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.system import atomic, processes
from engine.system.precision import MixedPrecision

PROBLEMS = "broken_pictures.txt"  # written into the current folder


def build_dataset(
    config: Config, val_only: bool = False, classes: Sequence[str] | None = None, on_disk: bool = False
) -> Dataset:
    """Load the data, after downloading an archive if the config says so, and check it against the config.

    A `model.num_classes` of 0 becomes the number of classes found, so that the run's own config has it.

    Args:
        val_only: the `train` split is not needed; see `data.load`.
        classes: the names of the model's classes, for data that has fewer or in another order; see `data.load`.
        on_disk: many pictures of a folder may stay on disk; see `data.load`.

    Raises:
        DataError: the data is missing or damaged, or has classes that `classes` lacks.
        UserError: the config contradicts itself, or the data has another number of classes than the model.
    """
    name, file, kept_at = config.data.name, config.data.file, side(config)
    if name == data.CIFAR10_1:
        _check_evaluation_only(config, val_only)
    download_missing(config)
    try:
        dataset = data.load(
            file,
            name,
            config.data.holdout,
            kept_at,
            val_only,
            classes,
            holdout_split=config.data.holdout_split,
            on_disk=on_disk,
        )
    except FolderError as error:
        raise _with_list(error) from error
    config.model.num_classes = config.model.num_classes or len(dataset.classes)
    if len(dataset.classes) != config.model.num_classes:
        raise UserError(
            f"model.num_classes: {config.model.num_classes}, but {file} has {len(dataset.classes)} "
            f"classes: set model.num_classes={len(dataset.classes)}, or 0 to count them",
            key="model.num_classes",
            value=config.model.num_classes,
            place=file,
        )
    return dataset


def _check_evaluation_only(config: Config, val_only: bool) -> None:
    """Refuse to train, or to hold out training pictures, where there are none."""
    name = config.data.name
    if not val_only:
        raise UserError(
            f"data.name: {name} has pictures to evaluate on and none to train on: train with data.name=cifar10, then "
            f"eval.py --weights FILE -o data.name={name} -o data.file={config.data.file}",
            key="data.name",
            value=name,
        )
    if config.data.holdout:
        raise UserError(
            f"data.holdout: {config.data.holdout}, but data.name: {name} has no training pictures to hold out: set "
            "data.holdout=0",
            key="data.holdout",
            value=config.data.holdout,
        )


def download_missing(config: Config) -> None:
    """Download the archive if it is missing and the config says so.

    Raises:
        DataError: it cannot be downloaded; UserError: these data are no archive.
    """
    name, file = config.data.name, config.data.file
    if config.data.download and name not in data.ARCHIVES:
        raise UserError(
            f"data.download: true, with data.name: {name}: there is nothing to download: leave it out",
            key="data.download",
            value=True,
        )
    if config.data.download and not Path(file).exists():
        download(file, data.ARCHIVES[name].addresses, data.ARCHIVES[name].md5)


def count_classes(config: Config) -> int:
    """Return the config's number of classes, counted in the data if it says 0.

    Raises:
        DataError: the data is missing or not in order.
    """
    if config.model.num_classes:
        return config.model.num_classes
    name, file = config.data.name, config.data.file
    if not Path(file).exists():
        raise UserError(
            f"model.num_classes: 0, which counts the classes in the data, but {file} (data.file) is not there: give "
            "the path of the data, or the number of classes",
            key="model.num_classes",
            value=0,
            place=file,
        )
    return folder.count_classes(file) if name == data.FOLDER else len(data.load(file, name).classes)


def _with_list(error: FolderError) -> DataError:
    """Write problems that are too many for one line into a file in the current folder, and name it in the error."""
    if len(error.problems) <= MOST:
        return error
    try:
        atomic.replace_text(Path(PROBLEMS), "\n".join(error.problems) + "\n")
    except OSError:  # the line alone must do
        return error
    return DataError(f"{error}; all are listed in {PROBLEMS}", key=error.key, value=error.value, place=error.place)


def side(config: Config) -> int:
    """Return the side in pixels at which the config's pictures are kept in memory.

    Raises:
        UserError: an archive, or CIFAR-10.1, has pictures of another side.
    """
    wanted, name = config.data.side, config.data.name
    if name not in (*data.ARCHIVES, data.CIFAR10_1):
        return wanted or config.data.image_size
    if wanted not in (0, data.SIDE):
        raise UserError(
            f"data.side: {wanted}, but the pictures of data.name: {name} are {data.SIDE} x {data.SIDE}: leave it out "
            "(data.image_size is the side that the model sees)",
            key="data.side",
            value=wanted,
        )
    return data.SIDE


def build_train_loader(config: Config, dataset: Dataset) -> Any:
    """Return the loader of augmented training batches.

    Raises:
        DataError: the split is smaller than one batch.
    """
    return data.build_train_loader(
        dataset.train,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        num_workers=config.data.num_workers,
        seed=config.train.seed,
        augmentation=build_augmentation(config),
        pipeline=config.data.pipeline,
        on_device=paddle.get_device() != "cpu",
        part=processes.rank(),
        parts=processes.size(),
    )


def build_augmentation(config: Config) -> Augmentation:
    """Return the strength of the config's augmentation."""
    return data.Augmentation(
        crop=config.data.crop,
        jitter=config.data.jitter,
        rotation=config.data.rotation,
        flip=config.data.flip,
        randaugment=config.data.randaugment,
        magnitude=config.data.randaugment_magnitude,
        erasing=config.data.random_erasing,
    )


def build_mixing(config: Config) -> Mixing | None:
    """Return the config's mixing of training batches, or None.

    Raises:
        UserError: batches of one picture cannot be mixed.
    """
    if not (config.data.mixup or config.data.cutmix):
        return None
    if config.data.batch_size == 1:
        raise UserError(
            "data.batch_size: 1, with data.mixup or data.cutmix: mixing needs at least 2 pictures per batch",
            key="data.batch_size",
            value=1,
        )
    return Mixing(config.data.mixup, config.data.cutmix, config.model.num_classes)


def build_val_loader(config: Config, dataset: Dataset) -> Any:
    """Return the loader of validation batches; each process gets its share of the split."""
    return data.build_eval_loader(
        dataset.val.share(processes.rank(), processes.size()),
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        num_workers=config.data.num_workers,
        pipeline=config.data.pipeline,
    )


def build_model(config: Config) -> models.RegionViT:
    """Return the config's model, newly initialized."""
    return models.build_model(
        config.model.name,
        num_classes=count_classes(config),
        padding_mask=config.model.padding_mask,
        drop_rate=config.model.drop_rate,
        attn_drop_rate=config.model.attn_drop_rate,
        drop_path_rate=config.model.drop_path_rate,
        recompute=config.train.recompute,
    )


def steps_per_epoch(config: Config, train_loader: Any) -> int:
    """Return the number of optimizer steps per epoch.

    Raises:
        UserError: an epoch has fewer batches than one step accumulates.
    """
    steps = len(train_loader) // config.train.accumulate
    if not steps:
        raise UserError(
            f"train.accumulate: {config.train.accumulate}, but an epoch has "
            f"{counted(len(train_loader), 'batch', 'batches')}: lower it, or data.batch_size",
            key="train.accumulate",
            value=config.train.accumulate,
        )
    return steps


def build_criterion(config: Config) -> LabelSmoothingCrossEntropy:
    """Return the config's loss."""
    return LabelSmoothingCrossEntropy(config.loss.label_smoothing)


def build_precision(config: Config, device: str) -> MixedPrecision:
    """Return the config's precision on a device.

    Raises:
        UserError: the device does not support it.
    """
    return MixedPrecision(config.amp.level, config.amp.dtype, device)
