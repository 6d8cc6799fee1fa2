"""The type that a model computes in: that of its pictures, which flows through it.

Weights of another type are cast to it. In 16 bits all activations between two products have 16 bits: softmax, layer
norm and GELU take and give 16 bits and compute in float32 inside Paddle's GPU kernels. In float32 remain the parameters
of norms, the lookup of `rel_pos` and the depth-wise convolutions, whose gradients would add up in 16 bits otherwise.

PyTorch's autocast casts a weight once for all its uses in a forward pass too, so that their gradients meet in 16 bits;
it lets softmax and layer norm return float32, which the next product casts back.
Source: https://docs.pytorch.org/docs/stable/amp.html
"""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor, nn


def as_type(x: Tensor, dtype: paddle.dtype) -> Tensor:
    """Return x in a type: x itself if it has that type already."""
    return x if x.dtype == dtype else x.astype(dtype)


def weights_of(layer: nn.Layer, dtype: paddle.dtype) -> tuple[Tensor, Tensor | None]:
    """Return the weight and the bias of a layer in a type."""
    weight, bias = layer.__dict__.get("in_type") or (layer.weight, layer.bias)
    return as_type(weight, dtype), None if bias is None else as_type(bias, dtype)


class CastOnce:
    """Within this context, `weights_of` finds the weights of layers in a type, all cast in one launch.

    So are their gradients, instead of one launch for each use of each weight. A class, because `to_static` does not
    know contexts made of generators.
    """

    def __init__(self, layers: Sequence[nn.Layer], dtype: paddle.dtype):
        self.layers, self.dtype = layers, dtype

    def __enter__(self) -> None:
        weights = [weight for layer in self.layers for weight in (layer.weight, layer.bias) if weight is not None]
        if all(weight.dtype == self.dtype for weight in weights):
            return
        row = paddle.concat([weight.flatten() for weight in weights]).astype(self.dtype)
        parts = iter(row.split([int(np.prod(weight.shape)) for weight in weights]))
        for layer in self.layers:
            weight = next(parts).reshape(layer.weight.shape)
            layer.__dict__["in_type"] = weight, None if layer.bias is None else next(parts)

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            layer.__dict__.pop("in_type", None)
