"""A trained model as a program that needs no code of this project: Paddle's own, or ONNX."""

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import paddle

from data.host import MEAN, STD

from . import build, config as configs, exported, files, trained as trained_models
from .errors import UserError
from .output import CONFIG
from .runtime import environment

FORMATS = tuple(exported.RUNNERS)
INPUT, OUTPUT = "images", "logits"
FARTHEST = {"paddle": 1e-5, "onnx": 1e-3}  # that logits may be from the model's on a CPU, as a share of the largest
ON_A_GPU = 1e-3  # there, products of matrices are TF32 where it has that
BATCHES = (1, 7)
OPSET = 17  # the first with layer norm as one operator


def export(weights, config, format, output):
    """Export a trained model, check that the export computes what the model does, and put it into a folder.

    Args:
        weights: a `.pdparams` file; config: that of its run.
        format: one of `FORMATS`.
        output: the folder; an export of the same format in it is replaced.

    Returns:
        (the files written, the largest difference between its logits and the model's, the largest of these).

    Raises:
        UserError: weights, device or folder cannot be used, what converts or runs ONNX is not installed, or the
            export computes something else than the model.
    """
    if exported.is_export(Path(weights)):
        raise UserError(f"--weights {weights}: an export already: give the .pdparams file that it was made of")
    _check_output(Path(output), format)
    config = dataclasses.replace(config, amp=configs.AmpConfig())  # an export computes in float32
    trained = trained_models.load(weights, config)
    with files.writing_into(output) as output, tempfile.TemporaryDirectory(dir=output, prefix=".export") as made:
        made = Path(made)
        images, logits = _example(trained)
        _write(trained, format, made)
        description = _describe(trained, format, made)
        (made / exported.DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        (made / CONFIG).write_text(configs.dump(config), encoding="utf-8")
        difference = _compare(exported.Exported(made, description, trained.device), images, logits)
        largest = float(np.abs(logits).max())
        allowed = FARTHEST[format] if trained.device == "cpu" else ON_A_GPU
        if not difference <= allowed * largest:
            raise UserError(
                f"{weights}: not exported: its logits go up to {largest:.2g}, and the export's are {difference:.1e} "
                f"from them, more than {allowed:.0e} of that: a fault of the conversion"
            )
        return _put(made, output), difference, largest


def _check_output(folder, format):
    """Refuse a folder with something else than an export of this format in the places of its files."""
    for other in set(FORMATS) - {format}:
        if (folder / exported.HAS_WEIGHTS[other]).exists():
            raise UserError(f"--output {folder}: holds an export as {other}: choose another folder")
    if (folder / CONFIG).exists() and not (folder / exported.HAS_WEIGHTS[format]).exists():
        raise UserError(f"--output {folder}: holds a run, whose {CONFIG} an export has too: choose another folder")


def _example(trained):
    """Return pictures as evaluation makes them, and their logits: of noise, for a model computes the same of any."""
    side = build.side(trained.config)
    pictures = np.random.default_rng(0).integers(0, 256, (max(BATCHES), side, side, 3), np.uint8)
    images = trained.normalised(pictures)
    with paddle.no_grad():
        return images, trained.model(images).numpy()


def _compare(layer, images, logits):
    """Return by how much an export's logits differ at most."""
    return max(float(np.abs(layer(images[:n]).numpy() - logits[:n]).max()) for n in BATCHES)


def _put(made, output):
    """Put an export's files into their folder; return them."""
    made = sorted(made.iterdir())
    files.replace({output / file.name: partial(shutil.copyfile, file) for file in made})
    for file in output.glob(f"{exported.STEM}.*"):
        if file.name not in [file.name for file in made]:
            file.unlink()  # another Paddle's, whose program has another name
    return [output / file.name for file in made]


def _write(trained, format, folder):
    """Write the program of a trained model."""
    build.make_static(trained.model, trained.config.data.image_size)
    with _silenced():
        paddle.jit.save(trained.model, str(folder / exported.STEM))
    if format == "onnx":
        _convert(folder)


def _convert(folder):
    """Convert Paddle's program in a folder to ONNX, which stays alone there."""
    try:
        import onnx
        import paddle2onnx
    except ImportError as error:
        raise UserError(f"--format onnx: needs {error.name}: {exported.NEEDED}") from None
    # Optimisation by its tools would install packages at this moment; onnxruntime optimises when it loads.
    untouched = {"enable_optimize": False} if paddle.__version__.startswith("2.") else {"optimize_tool": "None"}
    program, parameters, result = (
        folder / name for name in (f"{exported.STEM}.{exported.program_suffix()}", exported.PARAMETERS, exported.ONNX)
    )
    with _silenced():
        paddle2onnx.export(str(program), str(parameters), str(result), opset_version=OPSET, **untouched)
    if not files.size(result):
        raise UserError("--format onnx: paddle2onnx could not convert the program: is it the version that is required?")
    for file in set(folder.iterdir()) - {result}:
        file.unlink()
    model = onnx.load(result)
    _pad_with_zeros(model.graph)
    _name_ends(model.graph)
    onnx.save(model, result)


def _pad_with_zeros(graph):
    """Have padding add zeros, as it does without a value: that of paddle2onnx 2.1.0 is whatever lies in its memory."""
    for node in graph.node:
        if node.op_type == "Pad":
            del node.input[2:]


def _name_ends(graph):
    """Name the output and the axis of pictures; drop the constants that nothing reads, of which onnxruntime warns."""
    (result,) = graph.output
    for node in graph.node:
        node.output[:] = [OUTPUT if name == result.name else name for name in node.output]
    result.name = OUTPUT
    for end in (*graph.input, result):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    read = {OUTPUT, *(name for node in graph.node for name in node.input)}
    for things, names in ((graph.node, lambda node: node.output), (graph.initializer, lambda x: [x.name])):
        kept = [thing for thing in things if read.intersection(names(thing))]
        del things[:]
        things.extend(kept)


def _describe(trained, format, folder):
    """Return what `preprocessing.json` says: what the program takes, what it gives back, and what it is of."""
    config, side, size = trained.config, build.side(trained.config), trained.config.data.image_size
    classes, _ = trained.class_names()
    return {
        "format": format,
        "model": config.model.name,
        "input": {"name": INPUT, "shape": [None, 3, size, size], "dtype": "float32"},
        "output": {"name": OUTPUT, "shape": [None, len(classes)], "dtype": "float32", "is": "before softmax"},
        "preprocessing": [
            "RGB, 8 bits a channel, turned as EXIF data says, transparency over white",
            f"the middle square, reduced by area to {side} x {side} (cv2.INTER_AREA; a smaller one by INTER_LINEAR)",
            f"resized to {size} x {size} (cv2.INTER_LINEAR)",
            "divided by 255, minus mean, divided by std, channel by channel",
            "height, width, channel -> channel, height, width",
        ],
        "side": side,
        "image_size": size,
        "mean": MEAN,
        "std": STD,
        "classes": classes,
        "files": {file.name: files.sha256sum(file) for file in sorted(folder.iterdir())},
        "made_from": {"weights": str(trained.weights), "sha256": trained.sha256, **environment(trained.device)},
    }


@contextlib.contextmanager
def _silenced():
    """Keep back what Paddle and its converter print from C++, whoever reads it; exceptions tell what went wrong."""
    kept = [os.dup(1), os.dup(2)]
    with open(os.devnull, "w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    try:
        yield
    finally:
        for stream, before in zip((1, 2), kept, strict=True):
            os.dup2(before, stream)
            os.close(before)
