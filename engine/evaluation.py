"""Evaluation of saved weights: which config they belong to, accuracy, throughput, the prediction grid."""

import contextlib
import json
import tempfile
import time
from pathlib import Path

import paddle

from . import build, checkpoint, config as configs
from .errors import UserError
from .output import CONFIG
from .runtime import PROJECT, describe_device, select_device
from .trainer import evaluate, predicted_grid

DEFAULT_CONFIG = PROJECT / "configs" / "tiny_cifar10.yaml"


def find(weights, config_file, overrides):
    """Find the weights and the config they go with.

    A bare file name that is not in the current folder is looked for in the output folder of the config (or of the
    default one). Without a config, the one beside the weights is used, else the default.

    Returns:
        (path of the weights, config, a line that says what was found where or None).
    """
    weights, notes = Path(weights), []
    if not weights.exists() and weights.name == str(weights):
        folder = Path(configs.load(config_file or DEFAULT_CONFIG, overrides).output_dir)
        if (folder / weights).exists():
            weights = folder / weights
            notes.append(f"weights: {weights}")
        else:
            raise UserError(f"--weights {weights}: neither here nor in {folder}: give the path of the file")
    if config_file is None:
        beside = weights.parent / CONFIG
        config_file = beside if beside.exists() else DEFAULT_CONFIG
        notes.append(f"config: {config_file}" + ("" if beside.exists() else f" (no {CONFIG} beside the weights)"))
    return weights, configs.load(config_file, overrides), "; ".join(notes)


def evaluate_weights(weights, config, output):
    """Measure weights on the config's validation pictures; write `eval.json` and `predictions.png` into `output`.

    Returns:
        what `eval.json` holds: top1 and top5 as fractions, loss, images, images_per_second (with loading),
        model_images_per_second (the model alone), device, weights, split.

    Raises:
        UserError: device, data, weights or output folder cannot be used.
    """
    device = select_device(config.device)
    dataset = build.build_dataset(config)
    loader = build.build_val_loader(config, dataset)
    model = build.build_model(config)
    checkpoint.load_weights(model, weights)
    precision = build.build_precision(config, device)
    precision.convert(model)
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
        "device": describe_device(device),
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
