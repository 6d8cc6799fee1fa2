"""ONNX models in a lower precision: int8 for CPUs, float16 for GPUs. Inputs and outputs stay float32."""

import contextlib
import graphlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "int8", "float16")
SMALL = 1024  # weights of a convolution with fewer numbers stay float32: they would save nothing


def write(source: Path, target: Path, precision: str) -> None:
    """Write an ONNX model of float32 in another precision.

    int8: matrix products with weights are computed in int8, their inputs quantized as they come (dynamically). The
    weights get 7 bits: on a CPU without VNNI, sums of two products of 8 bits would overflow their 16. Convolutions are
    computed in float32, because int8 was slower and less exact there; only their weights are stored in int8.

    float16: everything, as `onnxruntime.transformers` converts it.
    """
    import onnx

    model = onnx.load(source)
    with _quiet():
        if precision == "int8":
            from onnxruntime.quantization import quantize_dynamic

            store_convolutions(model.graph)
            quantize_dynamic(model, target, op_types_to_quantize=["MatMul"], reduce_range=True)
        else:
            from onnxruntime.transformers.float16 import convert_float_to_float16

            model = convert_float_to_float16(model, keep_io_types=True)
            in_order(model.graph)
            onnx.save(model, target)


def in_order(graph: Any) -> None:
    """Sort the nodes so that each comes after those whose outputs it reads, as ONNX wants it.

    onnxruntime's conversion to float16 puts its casts at the end. onnxruntime reads that, other readers do not.
    """
    made_by = {name: i for i, node in enumerate(graph.node) for name in node.output}
    needs = {i: {made_by[name] for name in node.input if name in made_by} for i, node in enumerate(graph.node)}
    nodes = [graph.node[i] for i in graphlib.TopologicalSorter(needs).static_order()]
    del graph.node[:]
    graph.node.extend(nodes)


def store_convolutions(graph: Any) -> None:
    """Store the weights of convolutions as int8 with a scale per output channel.

    Cast and Mul give the float32 weights back; onnxruntime does so once, when it loads the model.
    """
    from onnx import TensorProto, helper, numpy_helper

    initializers = {each.name: each for each in graph.initializer}
    readers = [name for node in graph.node for name in node.input]
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        name = node.input[1]
        if name not in initializers or readers.count(name) > 1:
            continue
        weights = numpy_helper.to_array(initializers[name])
        if weights.size < SMALL:
            continue
        levels, scale = quantized(weights)
        graph.initializer.remove(initializers[name])
        graph.initializer.append(numpy_helper.from_array(levels, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        graph.node.insert(0, helper.make_node("Mul", [f"{name}_float32", f"{name}_scale"], [name], f"{name}_Mul"))
        cast = helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float32"], f"{name}_Cast", to=TensorProto.FLOAT)
        graph.node.insert(0, cast)


def quantized(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantize weights symmetrically, with a scale per output channel.

    float32 [out, ...] -> levels int8 [out, ...], scale float32 [out, 1, ...]; their product is about the weights.
    """
    scale = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True) / np.float32(127)
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context without the lines that onnxruntime logs about each tensor, and its advice."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
