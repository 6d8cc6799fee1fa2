"""Segmentation with PaddleSeg and its configs: training, and predicted maps over pictures."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import paddle
from paddle import nn
from paddleseg.core import infer, train as paddleseg_train
from paddleseg.cvlibs import Config, SegBuilder
from paddleseg.transforms import Compose
from paddleseg.utils import visualize

from common.errors import InputError
from data import pictures
from engine import filenames
from engine.errors import UserError, in_short
from engine.system import atomic
from engine.system.seeds import seed_everything
from engine.weights import pdparams

from . import paddleseg  # noqa: F401 registers the backbone
from .libraries import reading, refuse_misspelled, size

KEYS = (  # of a config, which PaddleSeg's `Config` reads
    *("batch_size", "iters", "train_dataset", "val_dataset", "test_config", "to_static_training"),
    *("model", "loss", "distill_loss", "optimizer", "lr_scheduler"),
)
OPACITY = 0.5  # of the map over a picture
SLIDING = ("is_slide", "crop_size", "stride")  # the part of PaddleSeg's test_config that predicting one picture uses


def train(config: str | Path, overrides: Sequence[str], output: str | Path, seed: int) -> nn.Layer:
    """Train the model of a config with PaddleSeg, which writes weights into `output` and measures the mean IoU.

    The config as it was used is written beside them.

    Returns:
        the trained model.

    Raises:
        UserError: the config cannot be used, or `output` has files already.
    """
    with atomic.writing_into(output) as folder:
        if any(folder.iterdir()):
            raise UserError(
                f"--output {folder} has files already: give a new folder", key="--output", value=str(output)
            )
    seed_everything(seed)
    settings = load(config, overrides)
    with _explained(config):
        builder = SegBuilder(settings)
        datasets = [builder.train_dataset, builder.val_dataset]
        model, optimizer, losses = builder.model, builder.optimizer, builder.loss
    for dataset in datasets:
        _check_files(dataset.file_list)
    for key, value, most in (("iters", settings.iters, None), ("batch_size", settings.batch_size, len(datasets[0]))):
        if value < 1 or (most is not None and value > most):  # PaddleSeg would wait for a whole batch forever
            expected = "1 or more" if most is None else f"1 to {most}, the number of pictures"
            raise UserError(f"{config}: {key} {value}: give {expected}", key=key, value=value, place=config)
    atomic.replace_text(folder / filenames.CONFIG, str(settings))
    with (
        _explained(config),
        reading(lambda: [file for dataset in datasets for pair in dataset.file_list for file in pair]),
    ):
        paddleseg_train(
            model,
            *datasets,
            optimizer,
            save_dir=str(folder),
            iters=settings.iters,
            batch_size=settings.batch_size,
            losses=losses,
            test_config=settings.test_config,
        )
    return model


def predict(
    config: str | Path, overrides: Sequence[str], weights: str | Path, files: Sequence[Path], output: str | Path
) -> Iterator[str]:
    """Write each picture with its predicted map over it as a PNG, and yield a line about it.

    Raises:
        UserError: the config or the weights cannot be used, or two pictures have one name.
        DataError: a picture cannot be read.
    """
    names = Counter(file.stem for file in files)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UserError(f"{twice[0]}: several pictures have this name: predict them one by one", value=twice[0])
    settings = load(config, overrides)
    with _explained(config):
        builder = SegBuilder(settings)
        model, transforms = builder.model, Compose(builder.val_transforms)
    pdparams.load_weights(model, weights)
    model.eval()
    sliding = {key: value for key, value in settings.test_config.items() if key in SLIDING}
    with atomic.writing_into(output) as folder:
        for file in files:
            picture = pictures.read(file)
            classes = segment(model, transforms, picture, **sliding)
            target = folder / f"{file.stem}_map.png"
            atomic.replace_contents({target: cv2.imencode(".png", over(picture, classes)[:, :, ::-1])[1].tobytes()})
            yield f"{file}: {shares(classes)} -> {target}"


@paddle.no_grad()
def segment(model: nn.Layer, transforms: Compose, picture: np.ndarray, **sliding: object) -> np.ndarray:
    """Return the class of each pixel: uint8 [H, W, 3], RGB -> int32 [H, W]."""
    prepared = transforms({"img": picture[:, :, ::-1].astype(np.float32)})  # as PaddleSeg reads a file, in BGR
    batch = paddle.to_tensor(prepared["img"][np.newaxis])
    classes, _ = infer.inference(model, batch, trans_info=prepared["trans_info"], **sliding)
    return classes.numpy()[0, 0]


def over(picture: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Draw a map over a picture in gray: uint8 [H, W, 3], int [H, W] -> uint8 [H, W, 3].

    Class 0 is black, the others have PaddleSeg's colors.
    """
    colors = np.array([[0, 0, 0], *np.reshape(visualize.get_color_map_list(256), [-1, 3])], np.uint8)
    gray = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(gray, 1 - OPACITY, colors[classes], OPACITY, 0)


def shares(classes: np.ndarray) -> str:
    """Return the share of each class that a map has, in words: "0: 81.3 %, 2: 18.7 %"."""
    found, counts = np.unique(classes, return_counts=True)
    return ", ".join(f"{kind}: {count / classes.size:.1%}" for kind, count in zip(found, counts, strict=True))


def load(config: str | Path, overrides: Sequence[str]) -> Config:
    """Return PaddleSeg's config of a YAML file and of `key.sub=value`.

    Raises:
        UserError: the file cannot be read, or PaddleSeg would ignore a key.
    """
    refuse_misspelled([text.partition("=")[0].partition(".")[0] for text in overrides], KEYS, "-o", anchors=False)
    with _explained(config):
        settings = Config(str(config), opts=list(overrides))
    refuse_misspelled(settings.dic, KEYS, config)
    return settings


@contextlib.contextmanager
def _explained(config: str | Path) -> Iterator[None]:
    """Turn what PaddleSeg raises about a config into one line."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__context__ and not isinstance(cause, InputError):  # PaddleSeg wraps what a component raises
            cause = cause.__context__
        if isinstance(cause, InputError):
            raise cause from None
        reason = f"no entry {cause}" if isinstance(cause, KeyError) else in_short(cause)
        raise UserError(f"{config}: PaddleSeg cannot use it: {reason}", key="--config", place=config) from error


def _check_files(pairs: Sequence[Sequence[str]]) -> None:
    """Raise UserError for the first picture or label of a data set that is missing, no picture, or of another size."""
    for picture, label in pairs:
        if size(picture) != size(label):
            raise UserError(f"{label}: not of the size of {picture}", place=label)
