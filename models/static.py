"""Compiling a model's forward pass into a static graph."""

import paddle
from paddle import nn


def make_static(model: nn.Layer, height: int, width: int) -> None:
    """Compile the forward pass of a model in place, for batches [B, 3, height, width]."""
    pictures = paddle.static.InputSpec([None, 3, height, width], "float32", "images")
    # On a GPU, Paddle 3's default backend (CINN) compiles for minutes.
    paddle.jit.to_static(model, input_spec=[pictures], full_graph=True, backend=None)
