"""Converting Paddle's program to ONNX with paddle2onnx, and mending what it does wrong."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paddle

from engine import filenames
from engine.errors import UserError
from engine.inference import program
from engine.system import atomic

TELLING = ("not supported", "unsupported", "[ERROR]")  # what paddle2onnx says of a failure, the most telling first
OPSET = 17  # the first one with layer normalization as an operator


def to_onnx(folder: Path, outputs: Sequence[str]) -> None:
    """Replace Paddle's program in a folder by its conversion to ONNX, whose outputs get names.

    The converter gets a process of its own, because it may abort at an operator that it does not know.

    Raises:
        UserError: paddle2onnx fails.
    """
    import onnx

    old = paddle.__version__.startswith("2.")
    result = filenames.EXPORTED_WEIGHTS["onnx"]
    arguments = ["--model_dir", ".", "--model_filename", filenames.PADDLE_PROGRAMS[old]]
    arguments += ["--params_filename", filenames.EXPORTED_WEIGHTS["paddle"]]
    arguments += ["--save_file", result, "--opset_version", str(OPSET)]
    # The optimizer of paddle2onnx 2 would install packages here; onnxruntime optimizes when it loads a model.
    arguments += [] if old else ["--optimize_tool", "None"]
    command = [sys.executable, "-c", "from paddle2onnx.command import main; main()", *arguments]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    )
    if done.returncode or not atomic.size(folder / result):
        reason = _reason(done.stdout.splitlines()) or f"status {done.returncode}"
        raise UserError(
            f"--format onnx: paddle2onnx failed ({reason}): check its version: {program.INSTALL}",
            key="--format",
            value="onnx",
        )
    for file in set(folder.iterdir()) - {folder / result}:
        file.unlink()
    model = onnx.load(folder / result)
    _pad_with_zeros(model.graph)
    _fold_constants(model.graph)
    _name_ends(model.graph, outputs)
    onnx.save(model, folder / result)


def _reason(lines: list[str]) -> str:
    """Return the line of paddle2onnx's output that says why it failed, or "".

    When it aborts, the last lines are about the signal. paddle2onnx 1 names the operators that it cannot convert; 2.1.0
    means to, but leaves the names out and only says that there are some.
    """
    said = [line.strip() for line in lines if line.strip()]
    telling = [line for words in TELLING for line in said if words in line]
    return (telling or said[-1:] or [""])[0]


def _pad_with_zeros(graph: Any) -> None:
    """Drop the value of each Pad node, so that it pads with zeros: paddle2onnx 2.1.0 takes it from stray memory."""
    for node in graph.node:
        if node.op_type == "Pad":
            del node.input[2:]


def _fold_constants(graph: Any) -> None:
    """Make each Constant node an initializer: onnxruntime's quantization and onnx2torch see no weights in nodes."""
    kept = []
    for node in graph.node:
        value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            value.name = node.output[0]
            graph.initializer.append(value)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _name_ends(graph: Any, outputs: Sequence[str]) -> None:
    """Name the outputs and the batch axis; drop unused nodes and constants, about which onnxruntime would warn."""
    new = {result.name: name for result, name in zip(graph.output, outputs, strict=True)}
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]  # a later stage reads the map of an earlier one
        node.output[:] = [new.get(name, name) for name in node.output]
    for result in graph.output:
        result.name = new[result.name]
    for end in (*graph.input, *graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    read = {*outputs, *(name for node in graph.node for name in node.input)}
    _keep(graph.node, lambda node: bool(read.intersection(node.output)))
    _keep(graph.initializer, lambda constant: constant.name in read)


def _keep(items: Any, wanted: Callable[[Any], bool]) -> None:
    """Remove the items of a protobuf list that are not wanted."""
    kept = [item for item in items if wanted(item)]
    del items[:]
    items.extend(kept)
