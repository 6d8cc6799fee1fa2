"""Evaluating saved weights: the numbers in `eval.json`, the outputs for each picture, the figures, the report."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from matplotlib.figure import Figure
from paddle import Tensor

from common.division import divided
from data import Dataset
from engine import filenames
from engine.config import build
from engine.config.options import Config
from engine.errors import UserError
from engine.evaluation import outputs
from engine.evaluation.report import DPI, page, report_curves
from engine.figures.curves import as_png, draw_curves
from engine.figures.predictions import OF_PREDICTIONS, ON_A_PHONE, reliability_diagram
from engine.history import read_history
from engine.inference.trained import Trained, load
from engine.metrics.evaluate import evaluate
from engine.metrics.interval import interval
from engine.metrics.quality import Predictions
from engine.system import processes
from engine.system.atomic import replace_contents, writing_into
from engine.system.device import describe_device
from engine.system.environment import environment

SECONDS = 3.0  # how long the speed of the model alone is measured


def evaluate_weights(
    weights: str | Path, config: Config, output: str | Path, report: bool = False, flip: bool = False
) -> dict[str, Any] | None:
    """Evaluate weights or an export on the validation pictures; write `eval.json`, `outputs.npz` and `predictions.png`.

    The data may have fewer classes than the model, or in another order, if the names of the model's classes are known.
    Of several processes each takes its share of the pictures; the first one writes, and the others return None.

    Args:
        output: the folder to write into.
        report: also write all figures and `report.html`.
        flip: average each picture's probabilities with those of its mirror image.

    With a temperature (see `engine.weights.temperature`) the same is measured of the probabilities that it makes; with
    `flip` these are the average of both views' probabilities, in a second pass over the pictures.

    Returns:
        the content of `eval.json`: top1 and top5 as fractions, top5 None for five or fewer classes,
        loss (with the config's label_smoothing), cross_entropy (without it), ece (expected calibration error), images,
        images_per_second (with loading), model_images_per_second (the model alone), device, processes, runtime,
        weights, split, flip, classes, per_class (precision, recall, f1, images, recall_interval), confusion_matrix
        (true classes down, predicted across), reliability (for each bin of confidence images, confidence, accuracy),
        temperature (1 if none is noted), about_temperature (where it comes from), calibrated (None if it is 1, else
        top1, cross_entropy, ece, reliability with the temperature), provenance. top1_interval, top5_interval and
        recall_interval are [low, high] of 95 %.

    Raises:
        DataError: the data cannot be used, or has pictures of a class that the model does not know.
        UserError: the device, the weights or the output folder cannot be used.
    """
    trained = load(weights, config)
    dataset = trained.dataset
    loader = build.build_val_loader(config, dataset)
    history = trained.weights.parent / filenames.HISTORY
    points = read_history(history) if report and history.exists() else []
    temperature = np.float64(trained.temperature)
    if not processes.agree(int(trained.sha256[:15], 16), len(dataset.val), temperature.view(np.int64).item()):
        raise UserError(
            f"--weights {weights}: not the same weights, temperature and pictures for all processes: give all the same "
            "files",
            key="--weights",
            value=str(weights),
            place=weights,
        )
    if processes.rank() == 0:
        with writing_into(output):
            pass  # fail before the evaluation, not after it
    model = MirrorAveraged(trained.model) if flip else trained.model
    criterion = build.build_criterion(config)
    result = evaluate(model, loader, criterion, len(dataset.classes))
    predictions = result.predictions
    trained.check(predictions.probabilities)
    tempered = None
    if temperature != 1 and flip:
        averaged = MirrorAveraged(trained.model, trained.temperature)
        tempered = evaluate(averaged, loader, criterion, len(dataset.classes)).predictions
    elif temperature != 1:
        tempered = predictions.tempered(trained.temperature)
    if processes.rank() > 0:
        processes.wait()  # when one process ends, the launcher may end the others
        return None
    npz = outputs.as_npz(predictions)
    measured = {
        "top1": result.top1,
        "top1_interval": predictions.interval(),
        "top5": result.top5,
        "top5_interval": None if result.top5 is None else interval(round(result.top5 * result.images), result.images),
        "loss": result.loss,
        "label_smoothing": config.loss.label_smoothing,
        "cross_entropy": result.cross_entropy,
        **_calibration(predictions),
        "temperature": trained.temperature,
        "about_temperature": trained.about_temperature,
        "calibrated": None
        if tempered is None
        else {
            "top1": float(tempered.correct.mean()),
            "cross_entropy": tempered.cross_entropy(),
            **_calibration(tempered),
        },
        "images": result.images,
        "images_per_second": result.ips,
        "model_images_per_second": throughput(model, next(iter(loader))[0]),
        "device": describe_device(trained.device),
        "processes": processes.size(),
        "runtime": trained.runtime,
        "weights": str(weights),
        "split": dataset.val.name,
        "flip": flip,
        "classes": dataset.classes,
        "per_class": [quality.as_dict() for quality in predictions.per_class()],
        "confusion_matrix": predictions.confusion().tolist(),
        "provenance": {**_provenance(trained, dataset), "outputs_sha256": hashlib.sha256(npz).hexdigest()},
    }

    def png_of_each(functions: Mapping[str, Callable[..., Figure]]) -> dict[str, bytes]:
        shown = predictions if tempered is None else tempered
        return {
            name: as_png(draw(shown, dataset.val.images, dataset.classes), dpi=DPI) for name, draw in functions.items()
        }

    figures = OF_PREDICTIONS if report else {"predictions": OF_PREDICTIONS["predictions"]}
    if report and tempered is not None:
        figures = {**figures, "reliability": partial(reliability_diagram, before=predictions)}
    pngs = png_of_each(figures)
    text = json.dumps(measured, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    contents: dict[str, str | bytes] = {filenames.EVALUATION: text, filenames.OUTPUTS: npz}
    contents |= {filenames.FIGURES[name]: png for name, png in pngs.items()}
    if report:
        drawn = draw_curves(points) if points else {}
        contents |= {filenames.CURVES[name]: as_png(figure) for name, figure in drawn.items()}
        contents[filenames.REPORT] = page(
            measured, config, pngs, png_of_each(ON_A_PHONE), report_curves(points, config), trained.weights.parent
        )
    with writing_into(output) as folder:
        replace_contents({folder / name: content for name, content in contents.items()})
    processes.wait()
    return measured


class MirrorAveraged(paddle.nn.Layer):
    """A model whose class probabilities, with a temperature, are averaged over a picture and its mirror image.

    pictures [B, 3, H, W] -> float32 [B, classes]: the logarithms of the mean probabilities, used as logits.
    """

    def __init__(self, model: paddle.nn.Layer, temperature: float = 1.0):
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, x: Tensor) -> Tensor:
        views = [divided(self.model(view).astype("float32"), self.temperature) for view in (x, x.flip(axis=-1))]
        log_p = [F.log_softmax(view, axis=-1) for view in views]
        return paddle.logsumexp(paddle.stack(log_p), axis=0) - math.log(2)


def _calibration(predictions: Predictions) -> dict[str, Any]:
    calibration = predictions.calibration()
    return {"ece": calibration.error, "reliability": calibration.as_dict()}


def _provenance(trained: Trained, dataset: Dataset) -> dict[str, Any]:
    chosen = trained.config.data
    held_out = {"archive_holdout": chosen.holdout, "archive_holdout_split": chosen.holdout_split}
    return {
        **environment(trained.device),
        "archive_name": trained.config.data.name,
        "archive": trained.config.data.file,
        "archive_md5": dataset.md5,
        "archive_is_official": dataset.official,
        **(held_out if chosen.holdout else {}),
        "weights_sha256": trained.sha256,
    }


def throughput(model: paddle.nn.Layer, images: Tensor) -> float:
    """Return the pictures per second of the forward pass alone on one batch, measured for about `SECONDS`."""
    model.eval()

    def forward(times: int) -> float:
        begin = time.perf_counter()
        for _ in range(times):
            logits = model(images)
        logits.sum().item()  # waits for the device
        return time.perf_counter() - begin

    with paddle.no_grad():
        forward(1)
        times = max(1, int(SECONDS / forward(1)))
        return times * len(images) / forward(times)
