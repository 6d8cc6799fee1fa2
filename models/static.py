"""Compiling a model's forward pass into a static graph."""

import paddle
from paddle import nn


def make_static(model: nn.Layer, image_size: int) -> None:
    """Have Paddle compile the forward pass of a model, in place, for batches [B, 3, image_size, image_size]."""
    pictures = paddle.static.InputSpec([None, 3, image_size, image_size], "float32", "images")
    # Without a backend of None, Paddle 3 spends minutes compiling with CINN on a GPU.
    paddle.jit.to_static(model, input_spec=[pictures], full_graph=True, backend=None)
