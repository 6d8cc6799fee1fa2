"""How a picture becomes class probabilities or feature maps, as data: operations that any language can follow."""

from collections.abc import Sequence
from typing import Any

from data.fast import UP
from data.normalise import MEAN, STD
from data.pictures import FORMATS
from engine.config import build
from engine.config.options import Config

_DECODE = {"op": "decode", "formats": FORMATS, "color": "RGB", "upright_by": "EXIF", "transparency_over": "white"}
_TO_INPUT: list[dict[str, Any]] = [
    {"op": "scale", "divide_by": 255},
    {"op": "normalize", "mean": MEAN, "std": STD},
    {"op": "transpose", "from": "HWC", "to": "CHW", "axes": [2, 0, 1]},
    {"op": "cast", "dtype": "float32"},
    {"op": "batch", "axis": 0},
]


def steps(config: Config, source: str, result: str, temperature: float) -> list[dict[str, Any]]:
    """Return the steps from a picture's file to class probabilities, in order.

    A resize with `"computed_in": "uint8"` is OpenCV's of 8-bit levels; with "float32" its levels are computed in
    float32 and become whole by `floor(level + floor_after_adding)`. The pipelines differ there by a level.

    Args:
        source, result: the names of the program's input and output.
    """
    side, size = build.side(config), config.data.image_size
    resize: list[dict[str, Any]] = [
        {"op": "resize", "size": [side, side], "shrink": "area", "enlarge": "linear", "computed_in": "uint8"}
    ]
    if size != side:
        fast = config.data.pipeline == "fast"
        computed: dict[str, Any] = {"computed_in": "float32" if fast else "uint8"}
        rounded = {"floor_after_adding": UP} if fast else {}
        resize.append(
            {"op": "resize", "size": [size, size], "shrink": "linear", "enlarge": "linear", **computed, **rounded}
        )
    return [
        _DECODE,
        {"op": "crop", "to": "middle square"},
        *resize,
        *_TO_INPUT,
        {"op": "run", "input": source, "output": result},
        {"op": "softmax", "axis": 1, "temperature": temperature},
    ]


def feature_steps(size: tuple[int, int], source: str, results: Sequence[str]) -> list[dict[str, Any]]:
    """Return the steps from a picture's file to feature maps, in order.

    The whole picture is resized, because an object at its edge counts too.

    Args:
        size: height and width of the program's pictures.
        source, results: the names of the program's input and outputs.
    """
    return [
        _DECODE,
        {"op": "resize", "size": size, "shrink": "linear", "enlarge": "linear", "computed_in": "uint8"},
        *_TO_INPUT,
        {"op": "run", "input": source, "outputs": results},
    ]
