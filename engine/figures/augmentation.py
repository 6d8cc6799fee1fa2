"""Figures of the training augmentation: one picture over the epochs of a run, or some pictures under all appliers."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import paddle
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from data import Dataset, augment, randaugment, unnormalise
from engine.config import build
from engine.config.options import Config
from engine.figures.predictions import short

COLUMNS = 4


def training_pictures(config: Config, dataset: Dataset) -> Any:
    """Return the pictures of a training run of the config: (epoch, index) -> (picture, label).

    Batch size and workers do not affect them, so this uses the smallest and none.
    """
    alone = dataclasses.replace(config.data, batch_size=1, num_workers=0)
    return build.build_train_loader(dataclasses.replace(config, data=alone), dataset).dataset


def draw_epochs(config: Config, dataset: Dataset, index: int, epochs: int) -> Figure:
    """Draw a training picture untouched, and then as each of the first `epochs` epochs of a run sees it.

    The parameters of the augmentation stand below.
    """
    pictures, split = training_pictures(config, dataset), dataset.train
    images, texts = [split.images[index]], [""]
    for epoch in range(epochs):
        images.append(unnormalise(pictures[epoch, index][0][None])[0])
        lines = describe_operations(pictures.operations(epoch)[index])
        lines += describe(pictures.drawn(epoch, index))
        texts.append("\n".join(lines + describe_box(pictures.boxes(epoch)[index])))
    rows, height = -(-len(images) // COLUMNS), max(len(text.splitlines()) for text in texts)
    layout = ConstrainedLayoutEngine(h_pad=0.08)
    figure = Figure(figsize=(2 * COLUMNS, (2.2 + 0.85 / 6 * height) * rows + 0.4), dpi=100, layout=layout)
    what = f"{split.name}, picture {index}, seed {config.train.seed}, pipeline {config.data.pipeline}"
    figure.suptitle(what, fontsize=9)
    for i, (image, text) in enumerate(zip(images, texts, strict=True)):
        axes = figure.add_subplot(rows, COLUMNS, i + 1)
        axes.imshow(image, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        title = f"epoch {i}" if i else f"untouched: {short(dataset.classes[split.labels[index]])}"
        axes.set_title(title, fontsize=9, parse_math=False)
        axes.set_xlabel(text, fontsize=7.5)
    return figure


def draw_appliers(config: Config, dataset: Dataset, count: int) -> Figure:
    """Draw the first training pictures, one per row: untouched with its parameters, then as each applier makes it."""
    images, labels = np.asarray(dataset.train.images[:count]), dataset.train.labels[:count]
    size, rng = config.data.image_size, np.random.default_rng(config.train.seed)
    _, height, width, _ = images.shape
    params = augment.sample(rng, len(images), height, width, build.build_augmentation(config))
    made = {
        "paddle.vision": augment.apply_vision(images, params, size),
        "apply_cv2": augment.apply_cv2(images, params, size),
        "apply_ops": unnormalise(augment.apply_ops(paddle.to_tensor(images), params.upload(), size).numpy()),
    }
    rows = len(images)
    figure = Figure(figsize=(10.4, 2.4 * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, 1 + len(made), squeeze=False)
    for row in range(rows):
        grid[row, 0].set_ylabel("\n".join(describe(params[row])), rotation=0, ha="right", va="center", fontsize=7.5)
        grid[row, 0].imshow(images[row], interpolation="nearest")
        grid[row, 0].set_title(short(dataset.classes[labels[row]]), fontsize=9, parse_math=False)
        for axes, (name, pictures) in zip(grid[row, 1:], made.items(), strict=True):
            axes.imshow(pictures[row], interpolation="nearest")
            distance = np.abs(pictures[row].astype(int) - made["paddle.vision"][row]).mean()
            axes.set_title(name if name == "paddle.vision" else f"{name}: off by {distance:.2f} / 255", fontsize=9)
        for axes in grid[row]:
            axes.set(xticks=[], yticks=[])
    return figure


def describe(params: augment.Params) -> list[str]:
    """Return one picture's parameters, one line each, jitter in the order in which it is applied."""
    top, left, height, width = params.box
    return [
        f"crop {height} x {width} at {top}, {left}",
        *(f"{('brightness', 'contrast', 'saturation')[kind]} {params.factor[kind]:.2f}" for kind in params.order),
        "flipped" if params.flip else "not flipped",
        f"rotated by {params.angle:.1f}°",
    ]


def describe_operations(operations: Iterable[tuple[int, int]]) -> list[str]:
    """Return one picture's operations of RandAugment, one line each."""
    return [f"{randaugment.NAMES[operation]} {'+' if sign > 0 else '-'}" for operation, sign in operations]


def describe_box(box: Iterable[int]) -> list[str]:
    """Return a line about the part of one picture that is erased, none if nothing is."""
    top, left, height, width = box
    return [f"erased {height} x {width} at {top}, {left}"] if height else []
