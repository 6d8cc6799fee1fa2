"""Exports: the program computes the model's logits."""

from pathlib import Path

import numpy as np
import paddle

from engine.check.check import CONFIG, Context, Result, Skip
from engine.check.golden import fill, picture
from engine.config import build
from engine.config.load import load_config
from engine.errors import UserError
from engine.inference.export import export
from engine.inference.program import FOR_ONNX, Exported, check_installed, describe, weights_in
from engine.weights import pdparams

BATCH = 3


def check(context: Context, format: str) -> Result:
    """Return the largest difference of a logit, as a share of the largest."""
    if format == "onnx":
        try:
            check_installed(*FOR_ONNX)
        except UserError as error:
            raise Skip(str(error), key=error.key, value=error.value) from error
    config = load_config(CONFIG, context.overrides(model__num_classes=10))
    model = fill(build.build_model(config))
    weights = context.folder / "model.pdparams"
    pdparams.save({weights: model.state_dict()})
    export(weights, config, format, context.folder / format)
    images = picture(11, context.sizes.side, context.sizes.side, BATCH)
    with paddle.no_grad():
        expected = model(images).numpy()
    difference, device = np.abs(run(context, format)(images).numpy() - expected).max(), _device(context, format)
    share = float(difference / np.abs(expected).max())
    return Result(share, f"{share:.1e} of the largest logit", f"the export ran on {device}")


def run(context: Context, format: str) -> Exported:
    """Return the export as a layer."""
    folder: Path = context.folder / format
    return Exported(folder, describe(weights_in(folder)), _device(context, format))


def _device(context: Context, format: str) -> str:
    return "cpu" if format == "onnx" else context.device  # onnxruntime may be installed without GPU support
