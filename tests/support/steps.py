"""Following the steps that an export lists, as somebody without this project's code would."""

import cv2
import numpy as np
from PIL import Image

from engine.inference import program


def follow(steps, file, run):
    """Follow an export's steps with nothing but numpy, OpenCV and Pillow.

    A picture's file -> probabilities [classes], or a list of feature maps [C, H, W]. `run` takes a batch and the names
    of the program's input and of its outputs, and returns a list of these.
    """
    x = None
    for step in steps:
        match step:
            case {"op": "decode", "color": color}:
                x = np.asarray(Image.open(file).convert(color))
            case {"op": "crop", "to": "middle square"}:
                short = min(x.shape[:2])
                top, left = (x.shape[0] - short) // 2, (x.shape[1] - short) // 2
                x = x[top : top + short, left : left + short]
            case {"op": "resize", "size": [h, w], "shrink": shrink, "enlarge": enlarge, "computed_in": kind}:
                how = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}[shrink if x.shape[0] > h else enlarge]
                x = cv2.resize(x.astype(kind), (w, h), interpolation=how)
                x = np.floor(x + step["floor_after_adding"]) if "floor_after_adding" in step else x
            case {"op": "scale", "divide_by": number}:
                x = x / number
            case {"op": "normalize", "mean": mean, "std": std}:
                x = (x - mean) / std
            case {"op": "transpose", "axes": axes}:
                x = x.transpose(axes)
            case {"op": "cast", "dtype": dtype}:
                x = x.astype(dtype)
            case {"op": "batch", "axis": axis}:
                x = np.expand_dims(x, axis)
            case {"op": "run", "input": source, "output": result}:
                (x,) = run(x, source, [result])
            case {"op": "run", "input": source, "outputs": results}:
                x = run(x, source, results)
            case {"op": "softmax", "axis": axis, "temperature": temperature}:
                x = np.exp((x - x.max(axis, keepdims=True)) / temperature)
                x = x / x.sum(axis, keepdims=True)
            case _:
                raise AssertionError(f"no such step: {step}")
    return [each[0] for each in x] if isinstance(x, list) else x[0]


def in_paddle_inference(folder):
    """Return what `follow` needs to run the program of an export in a folder."""
    predictor = program.predictor(folder, "cpu")

    def run(images, source, results):
        predictor.get_input_handle(source).copy_from_cpu(images)
        predictor.run()
        return [predictor.get_output_handle(result).copy_to_cpu() for result in results]

    return run
