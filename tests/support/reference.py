"""The golden numbers of the official implementation, and the rule that gives their parameters and inputs.

`golden/regionvit_reference.json` was computed with IBM/RegionViT in float32 on a CPU; `golden/state_dicts.json` lists
the names and shapes of three variants' parameters.
"""

import functools
import json
import zlib
from pathlib import Path

import numpy as np
import paddle

from models import build_model

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCE = json.loads((GOLDEN / "regionvit_reference.json").read_text())
STATE_DICTS = json.loads((GOLDEN / "state_dicts.json").read_text())


def parameter(key, shape, salt):
    z = np.random.RandomState(zlib.crc32((key + salt).encode())).standard_normal(shape).astype("float32")
    if key.endswith("rel_pos"):
        return 0.5 * z
    if len(shape) == 2:
        return z / np.float32(np.sqrt(shape[0]))
    if len(shape) == 4 and shape[0] != 1:
        return z / np.float32(np.sqrt(np.prod(shape[1:])))
    return 1 + 0.1 * z if key.endswith("weight") else 0.1 * z


def picture(seed, height, width, batch=2):
    return paddle.to_tensor(np.random.RandomState(seed).standard_normal((batch, 3, height, width)).astype("float32"))


@functools.lru_cache(maxsize=1)  # the cases come variant by variant; one big model in memory is enough
def _parameters(shapes, salt):
    return {key: parameter(key, shape, salt) for key, shape in shapes}


def fill(model, salt=""):
    """Give a model the golden parameters and return it in evaluation mode."""
    state = model.state_dict()
    shapes = tuple((key, tuple(value.shape)) for key, value in state.items() if ".proj_cls." not in key)
    values = _parameters(shapes, salt)
    model.set_state_dict({key: values[key.replace(".proj_cls.", ".proj.")] for key in state})
    model.eval()
    return model


def golden_model(case, **overrides):
    model = build_model(f"regionvit_{case['variant']}_224", num_classes=10, **overrides)
    return fill(model, case["salt"])


def free_model(**overrides):
    settings = {**REFERENCE["trajectory"]["model"], "num_classes": 10, **overrides}
    return build_model("regionvit", **settings)
