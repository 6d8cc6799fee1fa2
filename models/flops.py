"""Multiply-adds and parameters of a model, layer by layer; multiply-adds are counted as the paper counts them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import paddle
from paddle import Tensor, nn

from .attention import Attention
from .layers import Conv2D, DepthwiseConv2D, Linear
from .regionvit import RegionViT

LISTS = (nn.LayerList, nn.Sequential)
Shape = tuple[int, ...]


@dataclass
class Layer:
    """What one layer has and does by itself, without the layers inside it, for one picture.

    Attributes:
        path: the attributes that lead to it, as in "layers.2.block.3.attn.qkv": the beginning of its weights' names.
        kind: the name of its class.
        depth: 1 for a stage, 2 for an encoder, 3 for its attention, and so on; lists of layers do not count.
        parameters: their number.
        multiply_adds: of each of its calls in turn; RSA and LSA call the same attention.
        outputs: the shapes that these calls returned.
    """

    path: str
    kind: str
    depth: int
    parameters: int
    multiply_adds: list[int] = field(default_factory=list)
    outputs: list[Shape] = field(default_factory=list)


def _conv(layer: nn.Layer, output: Tensor) -> int:
    return int(output.size) * int(layer.weight.size) // layer.weight.shape[0]


def _linear(layer: nn.Layer, output: Tensor) -> int:
    return int(output.size) * layer.weight.shape[0]


def _attention(layer: nn.Layer, output: Tensor) -> int:
    sequences, N, C = output.shape
    return 2 * sequences * N * N * C  # q k^T and weights v


COUNTERS: dict[type[nn.Layer], Callable[[nn.Layer, Tensor], int]] = {
    Conv2D: _conv,
    DepthwiseConv2D: _conv,
    Linear: _linear,
    Attention: _attention,
}


def count_layers(model: RegionViT, height: int, width: int) -> list[Layer]:
    """Run a blank picture through a model and return its layers, outer ones before those inside them.

    Counted are convolutions, linear layers and the two products of attention, in the whole architecture, including the
    last encoder's local tokens, which classification skips. `paddle.flops` omits the products of attention, which are
    not layers, and counts biases.
    """
    layers, hooks, depths = {}, [], {"": 0}
    for path, layer in model.named_sublayers():  # a layer with two names comes once
        depths[path] = depths[path.rpartition(".")[0]] + (not isinstance(layer, LISTS))
        if not isinstance(layer, LISTS):
            own = sum(int(parameter.size) for parameter in layer.parameters(include_sublayers=False))
            layers[path] = Layer(path, type(layer).__name__, depths[path], own)
            hooks.append(layer.register_forward_post_hook(_recorder(layers[path])))
    training = model.training
    model.eval()
    try:
        with paddle.no_grad():
            channels = model.cls_token.proj.weight.shape[1]
            model.forward_features(paddle.zeros([1, channels, height, width]), detection=True)
            _, C, Hr, Wr = layers[f"layers.{len(model.layers) - 1}"].outputs[0]
            model.head(model.norm(paddle.zeros([1, Hr * Wr, C])).mean(axis=1))
    finally:
        for hook in hooks:
            hook.remove()
        if training:
            model.train()
    return list(layers.values())


def totals(layers: Iterable[Layer]) -> tuple[int, int]:
    """Return the parameters and the multiply-adds of some layers together."""
    layers = list(layers)
    return sum(layer.parameters for layer in layers), sum(sum(layer.multiply_adds) for layer in layers)


def count_multiply_adds(model: RegionViT, height: int, width: int) -> int:
    """Return the multiply-adds of a model per picture: the total of its layers."""
    return totals(count_layers(model, height, width))[1]


def _recorder(record: Layer) -> Callable[[nn.Layer, Any, Any], None]:
    def note(layer: nn.Layer, inputs: Any, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        record.outputs += [tuple(each.shape) for each in outputs]
        count = next((count for kind, count in COUNTERS.items() if isinstance(layer, kind)), None)
        record.multiply_adds.append(count(layer, outputs[0]) if count else 0)

    return note
