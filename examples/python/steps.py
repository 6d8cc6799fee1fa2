"""The steps in an export's preprocessing.json, followed with numpy, OpenCV and Pillow."""

import cv2
import numpy as np
from PIL import Image, ImageOps


def follow(steps, x, run):
    """Return class probabilities [1, classes] of a picture's file; `run` is given an array, and the program's names."""
    for step in steps:
        match step:
            case {"op": "decode", "formats": formats, "upright_by": "EXIF", "transparency_over": color, "color": "RGB"}:
                picture = ImageOps.exif_transpose(Image.open(x, formats=formats))
                if picture.mode.startswith("I"):  # 16-bit gray, which Pillow would clip
                    picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
                background = Image.new("RGBA", picture.size, color)
                x = np.asarray(Image.alpha_composite(background, picture.convert("RGBA")).convert("RGB"))
            case {"op": "crop", "to": "middle square"}:
                side = min(x.shape[:2])
                top, left = (x.shape[0] - side) // 2, (x.shape[1] - side) // 2
                x = x[top : top + side, left : left + side]
            case {"op": "resize", "size": [h, w], "shrink": shrink, "enlarge": enlarge, "computed_in": dtype}:
                how = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}[shrink if len(x) > h else enlarge]
                x = cv2.resize(x.astype(dtype), (w, h), interpolation=how)
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
                x = run(x, source, result)
            case {"op": "softmax", "axis": axis, "temperature": temperature}:
                x = np.exp((x - x.max(axis, keepdims=True)) / temperature)
                x = x / x.sum(axis, keepdims=True)
            case _:
                raise ValueError(f"a step that is not known: {step}")
    return x
