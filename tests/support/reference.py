"""Models with the golden parameters: whole ones, and narrow ones of each kind; see `engine.check.golden`.

`golden/state_dicts.json` lists the names and shapes of three variants' parameters.
"""

import json
from unittest import mock

import paddle

from engine.check.golden import FOLDER, fill, parameter, picture, reference
from models import VARIANTS, attention, build_model, layers

__all__ = [
    "KINDS",
    "PAPER",
    "REFERENCE",
    "STATE_DICTS",
    "fill",
    "free_model",
    "golden_model",
    "narrow",
    "parameter",
    "picture",
    "unfilled",
]

REFERENCE = reference()
STATE_DICTS = json.loads((FOLDER / "state_dicts.json").read_text(encoding="utf-8"))
# The variants of the paper: the official implementation gave golden numbers for each.
PAPER = [name for name in VARIANTS if name in {f"regionvit_{case['variant']}_224" for case in REFERENCE["cases"]}]


def _first_of_each_kind():
    found = {}
    for name, variant in VARIANTS.items():
        found.setdefault((variant["kernel_sizes"], variant["patch_conv_type"], variant["peg"]), name)
    return tuple(found.values())


# A variant for each window side, patch convolution and PEG: narrow ones then differ in their heads alone.
KINDS = _first_of_each_kind()


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
