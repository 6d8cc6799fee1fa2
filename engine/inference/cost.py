"""What a lower precision costs and gains: accuracy, logits, size and speed of two exports of one model."""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from common.machine import has_vnni
from common.words import counted
from engine.config import build
from engine.errors import UserError
from engine.inference.program import Run
from engine.inference.trained import Trained
from engine.metrics.evaluate import evaluate

MOST_LOST = 0.5  # percentage points of accuracy
BATCHES = (1, 16)
TURNS, SECONDS = 5, 0.2  # of the speed: turns of each, and how long one takes
PAUSE = 0.05  # seconds between turns: the threads of one session keep spinning after its turn


def measure(trained: Trained, plain: nn.Layer, reduced: nn.Layer) -> dict[str, Any]:
    """Compare an export in a lower precision with that in float32 on the config's validation pictures.

    Args:
        trained: the model that both were made of; its dataset has the pictures.
        plain, reduced: the exports, each as `program.Exported`.

    Returns:
        {"images", "split", "top1": {"float32", "reduced"} as fractions, "points_lost", "logits": {"largest_difference",
        "mean_difference", "largest"}, "images_per_second": for each batch {"batch", "float32", "reduced", "ratio"},
        "cpu_has_vnni"}.

    Raises:
        DataError: the data cannot be used.
        UserError: the reduced export outputs something that is not finite.
    """
    dataset, config = trained.dataset, trained.config
    loader, criterion = build.build_val_loader(config, dataset), build.build_criterion(config)
    before, after = (evaluate(model, loader, criterion, len(dataset.classes)) for model in (plain, reduced))
    expected, logits = before.predictions.logits, after.predictions.logits
    assert expected is not None
    assert logits is not None
    if not np.isfinite(logits).all():
        raise UserError(
            "--precision: not exported: logits in the lower precision are not finite: keep float32", key="--precision"
        )
    difference = np.abs(logits - expected)
    (images, _) = next(iter(loader))
    pictures = np.resize(images.numpy(), (max(BATCHES), *images.shape[1:]))
    top1 = {name: float(each.predictions.correct.mean()) for name, each in (("float32", before), ("reduced", after))}
    return {
        "images": before.images,
        "split": dataset.val.name,
        "top1": top1,
        "points_lost": 100 * (top1["float32"] - top1["reduced"]),
        "logits": {
            "largest_difference": float(difference.max()),
            "mean_difference": float(difference.mean()),
            "largest": float(np.abs(expected).max()),
        },
        "images_per_second": [speed(plain.run, reduced.run, pictures[:batch]) for batch in BATCHES],
        "cpu_has_vnni": has_vnni(),
    }


def speed(plain: Run, reduced: Run, images: np.ndarray) -> dict[str, float]:
    """Return the pictures per second of two programs that take turns on one batch: medians, and their ratio."""
    seconds: list[list[float]] = [[], []]
    runs = (plain, reduced)
    for run in runs:
        run(images)
    for _ in range(TURNS):
        for run, its_seconds in zip(runs, seconds, strict=True):
            time.sleep(PAUSE)
            begin, times = time.perf_counter(), 0
            while times == 0 or time.perf_counter() - begin < SECONDS:
                run(images)
                times += 1
            its_seconds.append((time.perf_counter() - begin) / times)
    before, after = (len(images) / statistics.median(its_seconds) for its_seconds in seconds)
    return {"batch": len(images), "float32": before, "reduced": after, "ratio": after / before}


def sizes(plain: Path, reduced: Path) -> dict[str, float]:
    """Return the sizes of two files in bytes, and their ratio."""
    before, after = plain.stat().st_size, reduced.stat().st_size
    return {"float32": before, "reduced": after, "ratio": after / before}


def check(cost: dict[str, Any], most_lost: float) -> None:
    """Raise UserError if an export has lost more percentage points of accuracy than the user allows."""
    if not cost["points_lost"] <= most_lost:
        raise UserError(
            f"--most-lost {most_lost:g}: not exported: {cost['points_lost']:.2f} points of accuracy are lost "
            f"({cost['top1']['float32']:.2%} in float32, {cost['top1']['reduced']:.2%} after) on "
            f"{counted(cost['images'], 'picture')} ({cost['split']}): allow more, or keep float32",
            key="--most-lost",
            value=cost["points_lost"],
        )


def lines(cost: dict[str, Any], precision: str) -> list[str]:
    """Return what was measured, as lines for the log."""
    top1, logits, size = cost["top1"], cost["logits"], cost["bytes"]
    vnni = {True: "with VNNI", False: "without VNNI", None: "which may have VNNI or not"}[cost["cpu_has_vnni"]]
    return [
        f"accuracy on {counted(cost['images'], 'picture')} ({cost['split']}): {top1['float32']:.2%} in float32, "
        f"{top1['reduced']:.2%} in {precision}: {cost['points_lost']:.2f} points lost",
        f"logits differ by at most {logits['largest_difference']:.2g}, {logits['mean_difference']:.2g} on average; the "
        f"largest is {logits['largest']:.2g}",
        f"size: {size['float32'] / 1e6:.2f} MB in float32, {size['reduced'] / 1e6:.2f} MB in {precision}: "
        f"{size['ratio']:.2f} of it",
        *(
            f"speed at batch {rate['batch']} on this CPU, {vnni}: {rate['float32']:,.0f} pictures/s in float32, "
            f"{rate['reduced']:,.0f} in {precision}: {rate['ratio']:.2f} times"
            for rate in cost["images_per_second"]
        ),
    ]
