"""Classify pictures with an ONNX export in onnxruntime."""

import classify
import onnxruntime


def load(folder):
    """Return the program in a folder as a function: pictures, names of input and output -> logits."""
    session = onnxruntime.InferenceSession(folder / "inference.onnx")
    return lambda images, source, result: session.run([result], {source: images})[0]


if __name__ == "__main__":
    classify.main("onnx", load)
