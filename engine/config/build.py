"""The one place where a config's values become objects."""

from pathlib import Path

import paddle

import data
import models
from data.download import download
from data.mixing import Mixing
from engine.errors import UserError
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.system import processes
from engine.system.precision import MixedPrecision


def build_dataset(config, val_only=False):
    """Load the data (downloading an archive first if the config says so) and hold it against the config.

    Args:
        val_only: `train` is not needed; see `data.load`.

    Raises:
        UserError: the data cannot be used, or has another number of classes than the model.
    """
    name, file, kept_at = config.data.name, config.data.file, side(config)
    if config.data.download and name == data.FOLDER:
        raise UserError("data.download: true, with data.name: folder: there is nothing to download: leave it out")
    if config.data.download and not Path(file).exists():
        download(file, data.ARCHIVES[name].addresses, data.ARCHIVES[name].md5)
    dataset = data.load(file, name, config.data.holdout, kept_at, val_only)
    if len(dataset.classes) != config.model.num_classes:
        raise UserError(
            f"model.num_classes: {config.model.num_classes}, but {file} has {len(dataset.classes)} "
            f"classes: set model.num_classes={len(dataset.classes)}"
        )
    return dataset


def side(config):
    """Return the side in pixels that the pictures of the config's data have; UserError if they cannot have it."""
    wanted, name = config.data.side, config.data.name
    if name == data.FOLDER:
        return wanted or config.data.image_size
    if wanted not in (0, data.SIDE):
        raise UserError(
            f"data.side: {wanted}, but the pictures of data.name: {name} are {data.SIDE} x {data.SIDE}: leave it out "
            "(data.image_size is what the model sees)"
        )
    return data.SIDE


def build_train_loader(config, dataset):
    """Return the loader of augmented training batches; UserError if the split is smaller than one batch."""
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


def build_augmentation(config):
    """Return how strongly the config changes training pictures."""
    return data.Augmentation(
        crop=config.data.crop,
        jitter=config.data.jitter,
        rotation=config.data.rotation,
        randaugment=config.data.randaugment,
        magnitude=config.data.randaugment_magnitude,
        erasing=config.data.random_erasing,
    )


def build_mixing(config):
    """Return how the config mixes training batches, None if it does not; UserError if there is nothing to mix with."""
    if config.data.mixup or config.data.cutmix:
        if config.data.batch_size == 1:
            raise UserError(
                "data.batch_size: 1, with data.mixup or data.cutmix: a picture has no other to be mixed with"
            )
        return Mixing(config.data.mixup, config.data.cutmix, config.model.num_classes)
    return None


def build_val_loader(config, dataset):
    """Return the loader of validation batches, in each process of its share."""
    return data.build_eval_loader(
        dataset.val.share(processes.rank(), processes.size()),
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        num_workers=config.data.num_workers,
        pipeline=config.data.pipeline,
    )


def build_model(config):
    """Return the config's model, freshly initialised."""
    return models.build_model(
        config.model.name,
        num_classes=config.model.num_classes,
        padding_mask=config.model.padding_mask,
        drop_rate=config.model.drop_rate,
        attn_drop_rate=config.model.attn_drop_rate,
        drop_path_rate=config.model.drop_path_rate,
        recompute=config.train.recompute,
    )


def steps_per_epoch(config, train_loader):
    """Return how many steps an epoch has; UserError if its batches do not make one."""
    steps = len(train_loader) // config.train.accumulate
    if not steps:
        raise UserError(
            f"train.accumulate: {config.train.accumulate}, but an epoch has {len(train_loader)} batch(es): "
            "lower it, or data.batch_size"
        )
    return steps


def build_criterion(config):
    """Return the config's loss."""
    return LabelSmoothingCrossEntropy(config.loss.label_smoothing)


def build_precision(config, device):
    """Return the config's precision on a device; UserError if it lacks it."""
    return MixedPrecision(config.amp.level, config.amp.dtype, device)
