"""How a picture becomes class probabilities, as data: a list of operations that any language can follow."""

from typing import Any

from data.normalise import MEAN, STD
from data.pictures import FORMATS
from engine.config import build
from engine.config.options import Config


def steps(config: Config, source: str, result: str, temperature: float) -> list[dict[str, Any]]:
    """Return the steps from a picture's file to class probabilities, in order.

    A resize with `"computed_in": "uint8"` is OpenCV's of 8-bit levels; with "float32" its levels are computed in
    float32 and rounded, halves upwards. The pipelines differ there by a level.

    Args:
        source, result: the names of the program's input and output.
    """
    side, size = build.side(config), config.data.image_size
    resize: list[dict[str, Any]] = [
        {"op": "resize", "size": [side, side], "shrink": "area", "enlarge": "linear", "computed_in": "uint8"}
    ]
    if size != side:
        computed_in = "float32" if config.data.pipeline == "fast" else "uint8"
        resize.append(
            {"op": "resize", "size": [size, size], "shrink": "linear", "enlarge": "linear", "computed_in": computed_in}
        )
    return [
        {"op": "decode", "formats": FORMATS, "color": "RGB", "upright_by": "EXIF", "transparency_over": "white"},
        {"op": "crop", "to": "middle square"},
        *resize,
        {"op": "scale", "divide_by": 255},
        {"op": "normalize", "mean": MEAN, "std": STD},
        {"op": "transpose", "from": "HWC", "to": "CHW", "axes": [2, 0, 1]},
        {"op": "cast", "dtype": "float32"},
        {"op": "batch", "axis": 0},
        {"op": "run", "input": source, "output": result},
        {"op": "softmax", "axis": 1, "temperature": temperature},
    ]
