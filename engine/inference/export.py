"""Exporting a trained model as a program that needs no code of this project: Paddle's own format, or ONNX."""

import dataclasses
import json
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from common.errors import InputError
from data.normalise import MEAN, STD
from engine import filenames
from engine.config import build
from engine.config.load import dump_config
from engine.config.options import AmpConfig, Config
from engine.errors import UserError
from engine.inference import cost, program, reduced
from engine.inference.convert import to_onnx
from engine.inference.steps import steps
from engine.inference.trained import Trained, load
from engine.system import atomic, tf32
from engine.system.environment import environment
from engine.system.flags import flags, values
from models.static import make_static

FORMATS = ("paddle", "onnx")  # engine.inference.web makes a third of the second
INPUT, OUTPUT = "images", "logits"
# How far an export's logits may be from the model's, as a share of the largest logit.
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
) -> tuple[list[Path], list[str]]:
    """Export a trained model into a folder, after checking that the export computes the model's logits.

    In a lower precision it is then compared with that in float32 on the config's validation pictures.

    Args:
        weights: a `.pdparams` file.
        config: the config of its run.
        format: one of `FORMATS`.
        output: the folder. An export of the same format and precision in it is replaced.
        precision: one of `reduced.PRECISIONS`; with `paddle` float32 alone.
        most_lost: how many percentage points of accuracy a lower precision may cost.

    Returns:
        (the files written, lines for the log).

    Raises:
        UserError: weights, device or folder cannot be used, a package that ONNX needs is not installed, or the
            export's logits differ from the model's; the lower precision has no pictures to be compared on, or costs
            more than `most_lost`.
    """
    if program.is_export(Path(weights)):
        raise UserError(
            f"--weights {weights}: already an export: give the .pdparams file that it was made from",
            key="--weights",
            value=str(weights),
            place=weights,
        )
    if format == "onnx":
        program.check_installed(*program.FOR_ONNX, *program.FOR_INT8 * (precision == "int8"))
    elif precision != reduced.FLOAT32:
        raise UserError(
            f"--precision {precision}: only with --format onnx, not {format}", key="--precision", value=precision
        )
    _refuse_old_programs()
    before = _files_to_replace(Path(output), format, precision)
    config = dataclasses.replace(config, amp=AmpConfig())  # an export computes in float32
    trained = load(weights, config)
    if precision != reduced.FLOAT32:
        _check_pictures(trained, precision)
    with tf32.never():
        images, logits = _example(trained)
        with atomic.writing_into(output) as folder, tempfile.TemporaryDirectory() as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            _write(trained, format, made)
            about = dump_config(dataclasses.replace(config, device="auto"))
            atomic.replace_text(made / filenames.CONFIG, about)
            description, lines = _describe(trained, format, made)
            if trained.about_temperature:
                lines.append(trained.about_temperature)
            device = "cpu" if format == "onnx" else trained.device  # onnxruntime may be installed without GPU support
            layer = program.Exported(made, description, device)
            lines.append(_compare(layer, images, logits, FARTHEST[format] if trained.device == "cpu" else ON_A_GPU))
            if precision != reduced.FLOAT32:
                description, more = _reduce(trained, layer, made, description, precision, most_lost)
                lines += more
            atomic.replace_text(made / filenames.DESCRIPTION, json.dumps(description, indent=2) + "\n")
            return _put(made, folder, before), lines


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


def _files_to_replace(folder: Path, format: str, precision: str) -> list[str]:
    """Return the names of the files of the export in a folder; UserError if the folder holds anything else."""
    if not (folder / filenames.DESCRIPTION).exists():
        for name in (filenames.CONFIG, *filenames.PADDLE_PROGRAMS, *filenames.EXPORTED_WEIGHTS.values()):
            if (folder / name).exists():
                raise UserError(
                    f"--output {folder}: its {name} does not belong to an export: choose another folder",
                    key="--output",
                    value=name,
                    place=folder,
                )
        return []
    try:
        before = program.read(folder)
    except UserError:  # damaged: replace it
        return []
    for kind, there, wanted in (
        ("format", before["format"], format),
        ("precision", program.precision_of(before), precision),
    ):
        if there != wanted:
            raise UserError(
                f"--output {folder}: holds an export in the {kind} {there}: choose another folder",
                key="--output",
                value=there,
                place=folder,
            )
    return list(before["files"])


def _example(trained: Trained) -> tuple[Tensor, np.ndarray]:
    """Return pictures of noise, prepared as for evaluation, and their logits."""
    side = build.side(trained.config)
    pictures = np.random.default_rng(0).integers(0, 256, (max(BATCHES), side, side, 3), np.uint8)
    images = trained.normalised(pictures)
    with paddle.no_grad():
        return images, trained.check(trained.model(images).numpy())


def _compare(layer: program.Exported, images: Tensor, logits: np.ndarray, allowed: float) -> str:
    """Report how far an export's logits are from the model's.

    Raises:
        UserError: further than the allowed share of the largest.
    """
    difference = max(float(np.abs(layer(images[:n]).numpy() - logits[:n]).max()) for n in BATCHES)
    largest = float(np.abs(logits).max())
    if not difference <= allowed * largest:
        raise UserError(
            f"not exported: the model's logits go up to {largest:.2g}, and the export's differ from them by "
            f"{difference:.1e}, more than {allowed:.0e} of that: the conversion is faulty",
            key=OUTPUT,
            value=difference,
        )
    return f"compared with the model: logits differ by at most {difference:.1e}, the largest is {largest:.2g}"


def _put(made: Path, output: Path, before: list[str]) -> list[Path]:
    """Move an export's files into their folder, and remove what only the previous export had; return the files."""
    # The description first: if the process is killed in between, the folder is recognized as a damaged export.
    files = sorted(made.iterdir(), key=lambda file: (file.name != filenames.DESCRIPTION, file.name))
    atomic.replace({output / file.name: partial(shutil.copyfile, file) for file in files})
    for name in set(before) - {file.name for file in files}:  # programs of Paddle 2.6 and 3.x have different names
        (output / name).unlink(missing_ok=True)
    return [output / file.name for file in files]


def _write(trained: Trained, format: str, folder: Path) -> None:
    """Write the program of a trained model."""
    make_static(trained.model, trained.config.data.image_size)
    # GPU builds of Paddle 3.3 write a linear layer as linear_v2, which paddle2onnx 2.1.0 cannot convert
    # (PaddlePaddle/Paddle2ONNX issue 1644). With the flag the program is the same for every build.
    with flags(use_legacy_linear=True):
        paddle.jit.save(trained.model, str(folder / filenames.PROGRAM))
    if format == "onnx":
        to_onnx(folder, OUTPUT)


def _describe(trained: Trained, format: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the content of `preprocessing.json` (inputs, outputs and origin of the program), and lines for the log."""
    config, side, size = trained.config, build.side(trained.config), trained.config.data.image_size
    (classes, unknown), count = trained.class_names(), config.model.num_classes
    # Paddle names the output of its own program, each version otherwise.
    output = OUTPUT if format == "onnx" else program.predictor(folder, "cpu").get_output_names()[0]
    return {
        "format": format,
        "precision": reduced.FLOAT32,
        "model": config.model.name,
        "padding_mask": config.model.padding_mask,
        "input": {"name": INPUT, "shape": [None, 3, size, size], "dtype": "float32"},
        "output": {"name": output, "shape": [None, count], "dtype": "float32", "is": "before softmax"},
        "temperature": trained.temperature,
        "probabilities": "softmax(logits / temperature)",
        "preprocessing": [
            "RGB, 8 bits per channel, turned as EXIF data says, transparency over white",
            f"the middle square, reduced by area to {side} x {side} (cv2.INTER_AREA; a smaller one by INTER_LINEAR)",
            f"resized to {size} x {size} (cv2.INTER_LINEAR)",
            "divided by 255, minus mean, divided by std, channel by channel",
            "height, width, channel -> channel, height, width",
        ],
        "steps": steps(config, INPUT, output, trained.temperature),
        "side": side,
        "image_size": size,
        "mean": MEAN,
        "std": STD,
        "num_classes": count,
        "classes": None if unknown else classes,
        "files": {file.name: atomic.sha256sum(file) for file in sorted(folder.iterdir())},
        "made_from": {"weights": str(trained.weights), "sha256": trained.sha256, **environment(trained.device)},
    }, ([unknown] if unknown else [])
