"""Evaluating a model on all pictures of a loader."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from tqdm.auto import tqdm

from engine.metrics.meter import Meter
from engine.metrics.quality import Predictions
from engine.system import processes
from engine.system.terminal import has_progress_bar


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        loss: mean of the criterion over all pictures, with label smoothing if that has it.
        cross_entropy: mean over all pictures of -log p[label], whatever the criterion.
        top1, top5: accuracies as fractions; top5 is None for five or fewer classes.
        images: number of pictures.
        ips: pictures per second, including loading; the first of several batches counts as warm-up and is left out.
        predictions: for the pictures of all processes.
    """

    loss: float
    cross_entropy: float
    top1: float
    top5: float | None
    images: int
    ips: float
    predictions: Predictions


def evaluate(
    model: nn.Layer,
    loader: Any,
    criterion: Callable[[Tensor, Tensor], Tensor],
    num_classes: int,
    check: Callable[[], None] | None = None,
) -> Evaluation:
    """Evaluate a model on all pictures of a loader.

    Args:
        check: called between batches; it may raise, for instance to stop the run.
    """
    model.eval()
    meter, logits_of_all, labels_of_all = Meter(num_classes), [], []
    begin, counted_from = time.perf_counter(), 0
    with paddle.no_grad():
        bar = tqdm(loader, desc="validation", leave=False, disable=not has_progress_bar())
        for i, (images, labels) in enumerate(bar):
            if check:
                check()
            logits = model(images).astype("float32")
            meter.update(criterion(logits, labels), logits, labels)
            logits_of_all.append(logits)
            labels_of_all.append(labels)
            if i == 0 and len(loader) > 1:
                meter.last_loss.item()  # synchronizes this device, without other processes
                begin, counted_from = time.perf_counter(), meter.images
        counted = meter.read()
    ips = (meter.images - counted_from) / (time.perf_counter() - begin) * processes.size()
    logits, labels = paddle.zeros([0, num_classes]), paddle.zeros([0], dtype="int64")
    if logits_of_all:  # a process may have no pictures
        logits, labels = paddle.concat(logits_of_all), paddle.concat(labels_of_all)
    logits, labels = processes.gather(logits), processes.gather(labels)
    predictions = Predictions(F.softmax(logits, axis=-1).numpy(), labels.numpy(), logits.numpy())
    return Evaluation(
        loss=counted["loss"],
        cross_entropy=predictions.cross_entropy(),
        top1=counted["top1"],
        top5=counted["top5"],
        images=counted["images"],
        ips=ips,
        predictions=predictions,
    )
