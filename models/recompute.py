"""Layers that forget what they computed, and compute it again in the backward pass."""

import paddle
from paddle.distributed import fleet


def recomputed(layer, *inputs):
    """Run a layer of which only the inputs are kept for the backward pass; what it draws is the same both times.

    Paddle would see to that too, but by setting Python's and numpy's generators as well as its own, and those belong to
    the threads that augment pictures meanwhile.
    """
    state, again = paddle.get_rng_state(), False

    def run(*inputs):
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
