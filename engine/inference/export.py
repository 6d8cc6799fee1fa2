"""Exporting a trained model as a program that needs no code of this project: Paddle's own format, or ONNX."""

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from common.errors import InputError
from data.normalise import normalise
from engine import filenames
from engine.config import build
from engine.config.load import dump_config
from engine.config.options import AmpConfig, Config
from engine.errors import UserError
from engine.inference import cost, description as descriptions, features, program, reduced
from engine.inference.convert import to_onnx
from engine.inference.description import OUTPUT
from engine.inference.placing import files_to_replace, put
from engine.inference.trained import Trained, load
from engine.system import atomic, tf32
from engine.system.flags import flags, values
from models.static import make_static

FORMATS = ("paddle", "onnx")  # engine.inference.web makes a third of the second
# How far an output of an export may be from the model's, as a share of the largest number in it.
FARTHEST = {"paddle": 1e-5, "onnx": 1e-3}  # on a CPU, by format
ON_A_GPU = 1e-3  # without TF32, which alone would move logits by more; nobody has measured yet how close they are
BATCHES = (1, 7)


def export(
    weights: str | Path,
    config: Config,
    format: str,
    output: str | Path,
    precision: str = reduced.FLOAT32,
    most_lost: float = cost.MOST_LOST,
    size: tuple[int, int] | None = None,
) -> tuple[list[Path], list[str]]:
    """Export a trained model into a folder, after checking that the export computes what the model computes.

    It computes class logits, or with `size` the feature maps that other tasks need. In a lower precision it is then
    compared with that in float32 on the config's validation pictures.

    Args:
        weights: a `.pdparams` file.
        config: the config of its run.
        format: one of `FORMATS`.
        output: the folder. An export of the same kind, format and precision in it is replaced.
        precision: one of `reduced.PRECISIONS`; with `paddle` float32 alone.
        most_lost: how many percentage points of accuracy a lower precision may cost.
        size: height and width of the pictures of an export of feature maps, which has float32 alone; None: an export
            that returns logits, for pictures of the config's size.

    Returns:
        (the files written, lines for the log).

    Raises:
        UserError: weights, device or folder cannot be used, a package that ONNX needs is not installed, or the
            export's outputs differ from the model's; the lower precision has no pictures to be compared on, or costs
            more than `most_lost`.
    """
    if program.is_export(Path(weights)):
        raise UserError(
            f"--weights {weights}: already an export: give the .pdparams file that it was made from",
            key="--weights",
            value=str(weights),
            place=weights,
        )
    if size and precision != reduced.FLOAT32:
        raise UserError(
            f"--precision {precision}: not with --features, which have no accuracy to lose: keep float32",
            key="--precision",
            value=precision,
        )
    if format == "onnx":
        program.check_installed(*program.FOR_ONNX, *program.FOR_INT8 * (precision == "int8"))
    elif precision != reduced.FLOAT32:
        raise UserError(
            f"--precision {precision}: only with --format onnx, not {format}", key="--precision", value=precision
        )
    _refuse_old_programs()
    task = program.FEATURES if size else program.CLASSIFICATION
    before = files_to_replace(Path(output), task, format, precision)
    config = dataclasses.replace(config, amp=AmpConfig())  # an export computes in float32
    trained, lines = features.load(weights, config) if size else (load(weights, config), [])
    names = features.names(config) if size else [OUTPUT]
    if precision != reduced.FLOAT32:
        _check_pictures(trained, precision)
    with tf32.never():
        images, outputs = _example(trained, size)
        with atomic.writing_into(output) as folder, tempfile.TemporaryDirectory() as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            _write(trained, format, made, size, names)
            about = dump_config(dataclasses.replace(config, device="auto"))
            atomic.replace_text(made / filenames.CONFIG, about)
            if size:
                description = descriptions.of_features(trained, format, made, size, names, outputs)
            else:
                description, more = descriptions.of_classifier(trained, format, made)
                lines += more
            if trained.about_temperature:
                lines.append(trained.about_temperature)
            device = "cpu" if format == "onnx" else trained.device  # onnxruntime may be installed without GPU support
            layer = program.Exported(made, description, device)
            allowed = FARTHEST[format] if trained.device == "cpu" else ON_A_GPU
            lines += _compare(layer.run, images, names, outputs, allowed)
            if precision != reduced.FLOAT32:
                description, more = _reduce(trained, layer, made, description, precision, most_lost)
                lines += more
            atomic.replace_text(made / filenames.DESCRIPTION, json.dumps(description, indent=2) + "\n")
            return put(made, folder, before), lines


def _refuse_old_programs() -> None:
    """Raise UserError where Paddle 3 is set to build the programs of Paddle 2, in which the model does not compile."""
    if not paddle.__version__.startswith("2.") and values("enable_pir_api") == {"enable_pir_api": False}:
        raise UserError(
            "FLAGS_enable_pir_api: 0 in the environment, with which an export is not possible: unset it",
            key="FLAGS_enable_pir_api",
            value=False,
        )


def _check_pictures(trained: Trained, precision: str) -> None:
    """Raise UserError if there are no validation pictures to compare a lower precision on."""
    try:
        _ = trained.dataset
    except InputError as error:
        raise UserError(
            f"--precision {precision}: has to be compared with float32 on validation pictures: {error}",
            key=error.key,
            value=error.value,
            place=error.place,
        ) from error


def _reduce(
    trained: Trained,
    plain: program.Exported,
    made: Path,
    description: dict[str, Any],
    precision: str,
    most_lost: float,
) -> tuple[dict[str, Any], list[str]]:
    """Replace an export in float32 by one in a lower precision; return its description, and lines for the log.

    Raises:
        UserError: it loses more accuracy than allowed.
    """
    file = made / filenames.EXPORTED_WEIGHTS["onnx"]
    before = file.rename(made.with_name(file.name))
    reduced.write(before, file, precision)
    compared = cost.measure(trained, plain, program.Exported(made, description, "cpu"))
    compared |= {"bytes": cost.sizes(before, file)}
    cost.check(compared, most_lost)
    files = {name: atomic.sha256sum(made / name) for name in description["files"]}
    return (
        {**description, "precision": precision, "compared_with_float32": compared, "files": files},
        cost.lines(compared, precision),
    )


def _example(trained: Trained, size: tuple[int, int] | None) -> tuple[Tensor, list[np.ndarray]]:
    """Return pictures of noise, prepared as for evaluation or of a size, and the outputs of the model."""
    side = build.side(trained.config)
    pictures = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *(size or (side, side)), 3), np.uint8)
    images = paddle.to_tensor(normalise(pictures)) if size else trained.normalised(pictures)
    with paddle.no_grad():
        outputs = trained.model(images)
    return images, [trained.check(each.numpy()) for each in (outputs if size else [outputs])]


def _compare(
    run: program.Run, images: Tensor, names: Sequence[str], outputs: Sequence[np.ndarray], allowed: float
) -> list[str]:
    """Report how far the outputs of an export are from the model's, a line for each.

    Raises:
        UserError: one is further than the allowed share of the largest number in it.
    """
    made, lines = [run(images[:n].numpy()) for n in BATCHES], []
    for i, (name, expected) in enumerate(zip(names, outputs, strict=True)):
        difference = max(_distance(each[i], expected[:n]) for n, each in zip(BATCHES, made, strict=True))
        title = "logits" if name == OUTPUT else f"numbers of {name}"
        largest = float(np.abs(expected).max())
        if not difference <= allowed * largest:
            raise UserError(
                f"not exported: the model's {title} go up to {largest:.2g}, and the export's differ from them by "
                f"{difference:.1e}, more than {allowed:.0e} of that: the conversion is faulty",
                key=name,
                value=difference,
            )
        lines.append(
            f"compared with the model: {title} differ by at most {difference:.1e}, the largest is {largest:.2g}"
        )
    return lines


def _distance(array: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(array - expected).max()) if array.shape == expected.shape else np.inf


def _write(trained: Trained, format: str, folder: Path, size: tuple[int, int] | None, names: Sequence[str]) -> None:
    """Write the program of a trained model."""
    side = trained.config.data.image_size
    make_static(trained.model, *(size or (side, side)))
    # GPU builds of Paddle 3.3 write a linear layer as linear_v2, which paddle2onnx 2.1.0 cannot convert
    # (PaddlePaddle/Paddle2ONNX issue 1644). With the flag the program is the same for every build.
    with flags(use_legacy_linear=True):
        paddle.jit.save(trained.model, str(folder / filenames.PROGRAM))
    if format == "onnx":
        to_onnx(folder, names)
