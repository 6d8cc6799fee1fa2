"""Recomputation: a layer's intermediate results are computed again in the backward pass instead of being kept."""

from typing import Any

import paddle
from paddle import nn
from paddle.distributed import fleet


def recomputed(layer: nn.Layer, *inputs: Any) -> Any:
    """Run a layer and keep only its inputs for the backward pass; it draws the same random numbers both times.

    Paddle's `preserve_rng_state` would also set the generators of Python and numpy, which belong to the threads that
    augment pictures at the same time.

    Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, section 4.
    """
    state, again = paddle.get_rng_state(), False

    def run(*inputs: Any) -> Any:
        nonlocal again
        if not again:
            again = True
            return layer(*inputs)
        now = paddle.get_rng_state()
        paddle.set_rng_state(state)
        try:
            return layer(*inputs)
        finally:
            paddle.set_rng_state(now)

    return fleet.utils.recompute(run, *inputs, preserve_rng_state=False)
