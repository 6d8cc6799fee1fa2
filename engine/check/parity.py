"""Parity: the logits of the official implementation, which computed them in float32 on a CPU."""

import itertools

import numpy as np
import paddle

from engine.check.check import Context, Result, Skip, worst_of
from engine.check.golden import FOLDER, fill, picture, reference
from models import build_model

PATCH = 4  # pixels; every variant of the paper has these patches


def check(context: Context) -> Result:
    """Return the largest difference of a logit over the golden cases."""
    if not FOLDER.is_dir():
        raise Skip(f"there is no {FOLDER}: run it in a clone of the repository", key="golden", place=FOLDER)
    largest = context.sizes.golden
    cases = [case for case in reference()["cases"] if not largest or _tokens(case) <= largest]
    cases.sort(key=lambda case: case["variant"])  # so that each model is built once
    differences = {}
    for variant, of_variant in itertools.groupby(cases, lambda case: case["variant"]):
        model = fill(build_model(f"regionvit_{variant}_224", num_classes=10))
        for case in of_variant:
            for stage in model.layers:
                stage.padding_mask = case["padding_mask"]
            with paddle.no_grad():
                logits = model(picture(case["input_seed"], case["height"], case["width"])).numpy()
            name = f"{variant}-{case['padding_mask']}-{case['height']}x{case['width']}"
            differences[name] = float(np.abs(logits - case["logits"]).max())
    where = max(differences, key=lambda name: worst_of([differences[name]]))
    note = f"{len(cases)} of {len(reference()['cases'])} cases, the largest difference in {where}"
    return Result(differences[where], f"{differences[where]:.1e}", note, differences)


def _tokens(case: dict) -> int:
    return -(-case["height"] // PATCH) * -(-case["width"] // PATCH)
