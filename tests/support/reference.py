"""The golden numbers of the official implementation, and the rules for their parameters and inputs.

`golden/regionvit_reference.json` was computed with IBM/RegionViT in float32 on a CPU; `golden/state_dicts.json` lists
the names and shapes of three variants' parameters.
"""

import functools
import json
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import paddle

from models import VARIANTS, attention, build_model, layers

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCE = json.loads((GOLDEN / "regionvit_reference.json").read_text(encoding="utf-8"))
STATE_DICTS = json.loads((GOLDEN / "state_dicts.json").read_text(encoding="utf-8"))
# The variants of the paper: the official implementation gave golden numbers for each.
PAPER = [name for name in VARIANTS if name in {f"regionvit_{case['variant']}_224" for case in REFERENCE["cases"]}]


def _first_of_each_kind():
    found = {}
    for name, variant in VARIANTS.items():
        found.setdefault((variant["kernel_sizes"], variant["patch_conv_type"], variant["peg"]), name)
    return tuple(found.values())


# A variant for each window side, patch convolution and PEG: narrow ones then differ in their heads alone.
KINDS = _first_of_each_kind()


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


@functools.lru_cache(maxsize=1)  # the cases are sorted by variant; one big model in memory is enough
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


def unfilled(name, **overrides):
    """Build a model with zeros for its linear weights: drawing random ones takes longer than all the rest."""
    zeros = paddle.nn.initializer.Constant(0.0)
    with (
        mock.patch.object(layers, "truncated_normal", return_value=zeros),
        mock.patch.object(attention, "truncated_normal", return_value=zeros),
    ):
        return build_model(name, num_classes=10, **overrides)


def narrow(name, **overrides):
    """A variant with four channels per head and two encoders per stage: heads, windows and PEG are its own."""
    heads = VARIANTS[name]["num_heads"]
    embed_dim = (4 * heads[0], *(4 * count for count in heads))
    return fill(unfilled(name, embed_dim=embed_dim, depth=(2,) * len(heads), **overrides))


def golden_model(case, **overrides):
    return fill(unfilled(f"regionvit_{case['variant']}_224", **overrides), case["salt"])


def free_model(**overrides):
    settings = {**REFERENCE["trajectory"]["model"], "num_classes": 10, **overrides}
    return build_model("regionvit", **settings)
