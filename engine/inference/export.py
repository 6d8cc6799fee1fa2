"""A trained model as a program that needs no code of this project: Paddle's own, or ONNX."""

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import paddle

from data.host import MEAN, STD
from engine import filenames
from engine.config import build
from engine.config.load import dump_config
from engine.config.options import AmpConfig
from engine.errors import UserError
from engine.inference import program as exported, trained as trained_models
from engine.system import atomic
from engine.system.environment import environment
from models.static import make_static

FORMATS = tuple(filenames.EXPORTED_WEIGHTS)
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
        (the files written, lines to tell).

    Raises:
        UserError: weights, device or folder cannot be used, what converts or runs ONNX is not installed, or the
            export computes something else than the model.
    """
    if exported.is_export(Path(weights)):
        raise UserError(f"--weights {weights}: an export already: give the .pdparams file that it was made of")
    if format == "onnx":
        exported.check_installed(*exported.FOR_ONNX)
    before = _files_to_replace(Path(output), format)
    config = dataclasses.replace(config, amp=AmpConfig())  # an export computes in float32
    trained = trained_models.load(weights, config)
    images, logits = _example(trained)
    with atomic.writing_into(output) as output, tempfile.TemporaryDirectory() as made:
        made = Path(made)
        _write(trained, format, made)
        (made / filenames.CONFIG).write_text(dump_config(dataclasses.replace(config, device="auto")), encoding="utf-8")
        description, told = _describe(trained, format, made)
        (made / filenames.DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        device = "cpu" if format == "onnx" else trained.device  # an onnxruntime for GPUs need not be there
        layer = exported.Exported(made, description, device)
        told.append(_compare(layer, images, logits, FARTHEST[format] if trained.device == "cpu" else ON_A_GPU))
        return _put(made, output, before), told


def _files_to_replace(folder, format):
    """Return the names of the files of an export that a folder has; UserError if what it has is something else."""
    if not (folder / filenames.DESCRIPTION).exists():
        for name in (filenames.CONFIG, *filenames.PADDLE_PROGRAMS, *filenames.EXPORTED_WEIGHTS.values()):
            if (folder / name).exists():
                raise UserError(f"--output {folder}: has a {name} that is of no export: choose another folder")
        return []
    try:
        before = exported.read(folder)
    except UserError:  # damaged, and so to be replaced
        return []
    if before["format"] != format:
        raise UserError(f"--output {folder}: has an export as {before['format']}: choose another folder")
    return list(before["files"])


def _example(trained):
    """Return pictures as evaluation makes them, and their logits: of noise, for a model computes the same of any."""
    side = build.side(trained.config)
    pictures = np.random.default_rng(0).integers(0, 256, (max(BATCHES), side, side, 3), np.uint8)
    images = trained.normalised(pictures)
    with paddle.no_grad():
        return images, trained.check(trained.model(images).numpy())


def _compare(layer, images, logits, allowed):
    """Say how far an export's logits are from the model's; UserError if further than the allowed share of them."""
    difference = max(float(np.abs(layer(images[:n]).numpy() - logits[:n]).max()) for n in BATCHES)
    largest = float(np.abs(logits).max())
    if not difference <= allowed * largest:
        raise UserError(
            f"not exported: the model's logits go up to {largest:.2g}, and the export's are {difference:.1e} from "
            f"them, more than {allowed:.0e} of that: a fault of the conversion"
        )
    return f"compared with the model: logits differ by at most {difference:.1e}, the largest is {largest:.2g}"


def _put(made, output, before):
    """Put an export's files into their folder, and remove those of the one before; return them."""
    # The description first: what a kill leaves of the two is then known as an export's, and as damaged.
    made = sorted(made.iterdir(), key=lambda file: (file.name != filenames.DESCRIPTION, file.name))
    atomic.replace({output / file.name: partial(shutil.copyfile, file) for file in made})
    for name in set(before) - {file.name for file in made}:  # another Paddle's program has another name
        (output / name).unlink(missing_ok=True)
    return [output / file.name for file in made]


def _write(trained, format, folder):
    """Write the program of a trained model."""
    make_static(trained.model, trained.config.data.image_size)
    paddle.jit.save(trained.model, str(folder / filenames.PROGRAM))
    if format == "onnx":
        _convert(folder)


def _convert(folder):
    """Convert Paddle's program in a folder to ONNX, which stays alone there.

    In a process of its own, for the converter may abort where it meets an operator that it does not know.
    """
    import onnx

    old = paddle.__version__.startswith("2.")
    program, result = filenames.PADDLE_PROGRAMS[old], filenames.EXPORTED_WEIGHTS["onnx"]
    arguments = [
        "--model_dir",
        ".",
        "--model_filename",
        program,
        "--params_filename",
        filenames.EXPORTED_WEIGHTS["paddle"],
    ]
    arguments += ["--save_file", result, "--opset_version", str(OPSET)]
    # The tools of paddle2onnx 2 would install packages at this moment; onnxruntime optimises when it loads.
    arguments += [] if old else ["--optimize_tool", "None"]
    command = [sys.executable, "-c", "from paddle2onnx.command import main; main()", *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode or not atomic.size(folder / result):
        last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), f"status {done.returncode}")
        raise UserError(f"--format onnx: paddle2onnx failed ({last}): is it the one that is needed? {exported.INSTALL}")
    for file in set(folder.iterdir()) - {folder / result}:
        file.unlink()
    model = onnx.load(folder / result)
    _pad_with_zeros(model.graph)
    _name_ends(model.graph)
    onnx.save(model, folder / result)


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
    """Return what `preprocessing.json` says (what the program takes, gives back and is of), and lines to tell."""
    config, side, size = trained.config, build.side(trained.config), trained.config.data.image_size
    (classes, unknown), count = trained.class_names(), config.model.num_classes
    return {
        "format": format,
        "model": config.model.name,
        "padding_mask": config.model.padding_mask,
        "input": {"name": INPUT, "shape": [None, 3, size, size], "dtype": "float32"},
        "output": {"name": OUTPUT, "shape": [None, count], "dtype": "float32", "is": "before softmax"},
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
        "num_classes": count,
        "classes": None if unknown else classes,
        "files": {file.name: atomic.sha256sum(file) for file in sorted(folder.iterdir())},
        "made_from": {"weights": str(trained.weights), "sha256": trained.sha256, **environment(trained.device)},
    }, ([unknown] if unknown else [])
