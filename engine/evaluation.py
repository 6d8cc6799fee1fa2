"""Evaluation of saved weights: accuracy, throughput, the prediction grid."""

import contextlib
import json
import tempfile
import time
from pathlib import Path

import paddle

from . import build, trained as trained_models
from .errors import UserError
from .runtime import describe_device
from .trainer import evaluate, predicted_grid


def evaluate_weights(weights, config, output):
    """Measure weights on the config's validation pictures; write `eval.json` and `predictions.png` into `output`.

    Returns:
        what `eval.json` holds: top1 and top5 as fractions, loss, images, images_per_second (with loading),
        model_images_per_second (the model alone), device, weights, split.

    Raises:
        UserError: device, data, weights or output folder cannot be used.
    """
    trained = trained_models.load(weights, config)
    model, precision = trained.model, trained.precision
    dataset = build.build_dataset(config)
    loader = build.build_val_loader(config, dataset)
    output = Path(output)
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()  # found out now, not after the evaluation
    result = evaluate(model, loader, build.build_criterion(config), len(dataset.classes), precision)
    report = {
        "top1": result["top1"],
        "top5": result["top5"],
        "loss": result["loss"],
        "images": result["images"],
        "images_per_second": result["ips"],
        "model_images_per_second": throughput(model, next(iter(loader))[0], precision),
        "device": describe_device(trained.device),
        "weights": str(weights),
        "split": dataset.val.name,
    }
    with _writing(output):
        (output / "eval.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        predicted_grid(model, loader, dataset.classes, precision).savefig(output / "predictions.png")
    return report


@contextlib.contextmanager
def _writing(output):
    try:
        yield
    except OSError as error:
        raise UserError(f"--output {output} cannot be written ({error}): choose another") from error


def throughput(model, images, precision, seconds=3.0):
    """Return pictures a second of the forward pass alone on one batch, after a warm-up, over about `seconds`."""
    model.eval()

    def forward(times):
        begin = time.perf_counter()
        for _ in range(times):
            logits = model(images)
        logits.sum().item()  # waits for the device
        return time.perf_counter() - begin

    with paddle.no_grad(), precision.autocast():
        forward(1)
        times = max(1, int(seconds / forward(1)))
        return times * len(images) / forward(times)
