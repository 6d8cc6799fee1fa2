"""Multiply-adds of a model, counted as the paper counts them."""

from typing import Any

import paddle
from paddle import Tensor, nn

from .attention import Attention
from .layers import Conv2D, DepthwiseConv2D, Linear
from .regionvit import RegionViT


def count_multiply_adds(model: RegionViT, height: int, width: int) -> int:
    """Return the multiply-adds per picture: convolutions, linear layers and the two products of attention.

    They are those of the whole architecture, including the last encoder's local tokens, which classification skips.
    `paddle.flops` omits the products of attention, which are not layers, and counts biases.
    """
    total = 0

    def conv(layer: nn.Layer, inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += int(output.size) * int(layer.weight.size) // layer.weight.shape[0]

    def linear(layer: nn.Layer, inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += int(output.size) * layer.weight.shape[0]

    def attention(layer: nn.Layer, inputs: Any, output: Tensor) -> None:
        nonlocal total
        sequences, N, C = output.shape
        total += 2 * sequences * N * N * C  # q k^T and weights v

    counters: dict[type[nn.Layer], Any] = {Conv2D: conv, DepthwiseConv2D: conv, Linear: linear, Attention: attention}
    hooks = [
        layer.register_forward_post_hook(count)
        for layer in model.sublayers()
        for kind, count in counters.items()
        if isinstance(layer, kind)
    ]
    training = model.training
    model.eval()
    with paddle.no_grad():
        maps = model.forward_features(paddle.zeros([1, 3, height, width]), detection=True)
        model.head(paddle.zeros([1, maps[-1].shape[1]]))
    for hook in hooks:
        hook.remove()
    if training:
        model.train()
    return total
