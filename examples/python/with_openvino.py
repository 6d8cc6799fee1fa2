"""Classify pictures with an ONNX export in OpenVINO."""

import classify
import openvino

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}  # a CPU that has bfloat16 computes in it otherwise


def load(folder):
    """Return the program in a folder as a function: pictures, names of input and output -> logits."""
    program = openvino.compile_model(folder / "inference.onnx", "CPU", FLOAT32)
    return lambda images, source, result: program({source: images})[result]


if __name__ == "__main__":
    classify.main("onnx", load)
