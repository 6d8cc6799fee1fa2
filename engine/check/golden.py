"""The golden numbers of the official implementation, and the rules for their parameters and inputs.

`tests/golden/regionvit_reference.json` was computed with IBM/RegionViT in float32 on a CPU.
"""

import functools
import json
import zlib
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from engine.system.environment import PROJECT

FOLDER = PROJECT / "tests" / "golden"


@functools.lru_cache
def reference() -> dict[str, Any]:
    """Return the golden numbers: cases (logits), features, trajectory."""
    return json.loads((FOLDER / "regionvit_reference.json").read_text(encoding="utf-8"))


def parameter(key: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """Return the golden values of a parameter, a function of its name, its shape and the case's salt."""
    z = np.random.RandomState(zlib.crc32((key + salt).encode())).standard_normal(shape).astype("float32")
    if key.endswith("rel_pos"):
        return 0.5 * z
    if len(shape) == 2:
        return z / np.float32(np.sqrt(shape[0]))
    if len(shape) == 4 and shape[0] != 1:
        return z / np.float32(np.sqrt(np.prod(shape[1:])))
    return 1 + 0.1 * z if key.endswith("weight") else 0.1 * z


def picture(seed: int, height: int, width: int, batch: int = 2) -> Tensor:
    """Return the golden input of a seed: normal noise [batch, 3, height, width]."""
    return paddle.to_tensor(np.random.RandomState(seed).standard_normal((batch, 3, height, width)).astype("float32"))


@functools.lru_cache(maxsize=1)  # cases are sorted by variant; one big model in memory is enough
def _parameters(shapes: tuple[tuple[str, tuple[int, ...]], ...], salt: str) -> dict[str, np.ndarray]:
    return {key: parameter(key, shape, salt) for key, shape in shapes}


def fill(model: nn.Layer, salt: str = "") -> nn.Layer:
    """Give a model the golden parameters and return it in evaluation mode."""
    state = model.state_dict()
    shapes = tuple((key, tuple(value.shape)) for key, value in state.items() if ".proj_cls." not in key)
    values = _parameters(shapes, salt)
    model.set_state_dict({key: values[key.replace(".proj_cls.", ".proj.")] for key in state})
    model.eval()
    return model
