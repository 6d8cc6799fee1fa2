"""Recomputation and dropout: the same bits with less memory, and masks that the seed alone decides."""

import contextlib
from collections.abc import Iterator

import numpy as np
import paddle

from engine.check.check import Context, Result
from engine.check.golden import fill, picture
from engine.system.device import make_deterministic
from models import build_model

DROPPING = {"drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.3}
FLAGS = ("FLAGS_cudnn_deterministic", "FLAGS_embedding_deterministic")


def check(context: Context) -> Result:
    """Return how many arrays (logits, gradients, and what is drawn next) differ between the two.

    A difference between two passes of the same model and seed counts too; another seed has to give other logits.
    """
    with _deterministic():
        plain, same, other = (_pass(context, recompute=False, seed=seed) for seed in (7, 7, 8))
        again = _pass(context, recompute=True, seed=7)
    different = sum(not np.array_equal(a, b) for a, b in zip(plain, again, strict=True))
    unstable = sum(not np.array_equal(a, b) for a, b in zip(plain, same, strict=True))
    if np.array_equal(plain[0], other[0]):
        return Result(np.inf, "two seeds drop the same", "dropout or stochastic depth does nothing")
    figure = f"{different} of {len(plain)} arrays differ"
    return Result(different + unstable, figure, f"{unstable} between two plain passes")


def _pass(context: Context, recompute: bool, seed: int) -> list[np.ndarray]:
    """Return the logits, all gradients and the next random numbers of a pass with dropout."""
    side = context.sizes.side
    model = fill(build_model(context.sizes.model, num_classes=10, recompute=recompute, **DROPPING))
    model.train()
    paddle.seed(seed)
    logits = model(picture(5, side, side, batch=4))
    logits.square().mean().backward()
    return [logits.numpy(), *(p.grad.numpy() for p in model.parameters()), paddle.rand([3]).numpy()]


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """A context in which a GPU computes the same bits every time."""
    before = paddle.get_flags(list(FLAGS)) if paddle.is_compiled_with_cuda() else {}
    make_deterministic()
    try:
        yield
    finally:
        if before:
            paddle.set_flags(before)
