"""The one place where a config's values become objects."""

from pathlib import Path

import paddle

import data
import models
from data.download import download

from . import parallel
from .amp import MixedPrecision
from .errors import UserError
from .losses import LabelSmoothingCrossEntropy
from .mixing import Mixing
from .state import new_state


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
    try:
        if config.data.download and not Path(file).exists():
            download(file, data.ARCHIVES[name].addresses, data.ARCHIVES[name].md5)
        dataset = data.load(file, name, config.data.holdout, kept_at, val_only)
    except data.DataError as error:
        raise UserError(str(error)) from error
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
    try:
        return data.build_train_loader(
            dataset.train,
            batch_size=config.data.batch_size,
            image_size=config.data.image_size,
            num_workers=config.data.num_workers,
            seed=config.train.seed,
            augmentation=build_augmentation(config),
            pipeline=config.data.pipeline,
            on_device=paddle.get_device() != "cpu",
            part=parallel.rank(),
            parts=parallel.size(),
        )
    except data.DataError as error:
        raise UserError(str(error)) from error


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
        dataset.val.share(parallel.rank(), parallel.size()),
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


def steps_an_epoch(config, train_loader):
    """Return how many steps an epoch has; UserError if its batches do not make one."""
    steps = len(train_loader) // config.train.accumulate
    if not steps:
        raise UserError(
            f"train.accumulate: {config.train.accumulate}, but an epoch has {len(train_loader)} batch(es): "
            "lower it, or data.batch_size"
        )
    return steps


def build_state(config, model, precision, total_steps):
    """Return the state of a model's run that has not begun, its learning rate planned for `total_steps`.

    Raises:
        UserError: the warm-up would leave no step for the rest, or a static graph does not go with another option.
    """
    warmup_epochs, epochs = config.optimizer.warmup_epochs, config.train.epochs
    if warmup_epochs >= epochs:
        raise UserError(f"optimizer.warmup_epochs: {warmup_epochs:g}, but train.epochs: {epochs}: give fewer than that")
    if config.train.to_static and config.train.recompute:
        raise UserError("train.recompute: true, with train.to_static: true: a static graph keeps all: use one of them")
    if config.train.to_static and precision.level == "O2":
        raise UserError("train.to_static: true, with amp.level: O2: not tried on a GPU yet; use O1, or no to_static")
    state = new_state(
        model,
        learning_rate=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
        total_steps=total_steps,
        precision=precision,
        optimizer=config.optimizer.name,
        warmup_steps=int(total_steps // epochs * warmup_epochs),  # as many when the run is extended
        layer_decay=config.optimizer.layer_decay,
        clip_norm=config.optimizer.clip_norm,
        ema_decay=config.train.ema_decay,
        recompute=config.train.recompute,
    )
    if config.train.to_static:
        make_static(model, config.data.image_size)
    return state


def make_static(model, image_size):
    """Have Paddle compile the model's forward pass into a static graph, for batches of any size."""
    pictures = paddle.static.InputSpec([None, 3, image_size, image_size], "float32", "images")
    # Without a backend of None, Paddle 3 spends minutes compiling by CINN on a GPU.
    paddle.jit.to_static(model, input_spec=[pictures], full_graph=True, backend=None)


def build_criterion(config):
    """Return the config's loss."""
    return LabelSmoothingCrossEntropy(config.loss.label_smoothing)


def build_precision(config, device):
    """Return the config's precision on a device; UserError if it lacks it."""
    return MixedPrecision(config.amp.level, config.amp.dtype, device)
