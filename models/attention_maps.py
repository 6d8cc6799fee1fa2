"""The attention weights of all encoders of a model, recorded by hooks during a forward pass.

Outside of `attention_maps` there are no hooks and nothing is kept.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from . import cpu
from .regionvit import RegionViT

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class StageAttention:
    """The attention weights of a stage's encoders for B pictures. The last axis is that of the keys, and sums to 1.

    Masked keys have weight 0, or on a CPU up to 1.6e-28, because Paddle's softmax there clips exponents at -64.

    regional: RSA, float32 numpy [encoders, B, heads, R, R], over the R = Hr*Wr regional tokens.
    local: LSA, float32 numpy [encoders, B, R, heads, 1 + ws*ws, 1 + ws*ws], in each window, regional token first.
    grid, size: (Hr, Wr) of the regional map; (H, W) of the local map, without padding.
    ws: side of a window.
    """

    regional: np.ndarray
    local: np.ndarray
    grid: Size
    size: Size
    ws: int


def attention_maps(model: RegionViT, pictures: Tensor) -> list[StageAttention]:
    """Return the attention weights of a RegionViT for pictures [B, in_chans, height, width], stage by stage.

    The model runs in evaluation mode; afterwards it is in its previous state.
    """
    # In Paddle's own operations, because a faster attention has no weights to record.
    with paddle.no_grad(), cpu.plain(), _evaluating(model), _recording(model) as (weights, shapes):
        # With `detection`, because the last encoder's LSA otherwise has only the regional tokens as queries.
        model.forward_features(pictures, detection=True)
    stages = zip(model.layers, weights, shapes, strict=True)
    return [_stage_attention(recorded, grid, size, stage.ws) for stage, recorded, (grid, size) in stages]


def _stage_attention(weights: list[np.ndarray], grid: Size, size: Size, ws: int) -> StageAttention:
    regional, local = np.stack(weights[0::2]), np.stack(weights[1::2])  # each encoder computes RSA, then LSA
    encoders, B, _, R, _ = regional.shape
    return StageAttention(regional, local.reshape(encoders, B, R, *local.shape[2:]), grid, size, ws)


@contextlib.contextmanager
def _recording(model: RegionViT) -> Iterator[tuple[list[list[np.ndarray]], list[tuple[Size, Size]]]]:
    """Within this context, record for each stage the attention weights and the sizes (grid, size) of its maps.

    The input of `attn_drop` is the softmax itself; it is copied to the host at once.
    """
    weights: list[list[np.ndarray]] = [[] for _ in model.layers]
    shapes: list[tuple[Size, Size]] = []
    hooks = []

    def keep_shapes(stage: nn.Layer, inputs: Any, maps: tuple[Tensor, Tensor]) -> None:
        (Hr, Wr), (H, W) = (map(int, each.shape[2:]) for each in maps)
        shapes.append(((Hr, Wr), (H, W)))

    try:
        for stage, recorded in zip(model.layers, weights, strict=True):
            hooks.append(stage.register_forward_post_hook(keep_shapes))
            for encoder in stage.block[1:]:
                keep = _keep_in(recorded)
                hooks.append(encoder.attn.attn_drop.register_forward_pre_hook(keep))
        yield weights, shapes
    finally:
        for hook in hooks:
            hook.remove()


def _keep_in(recorded: list[np.ndarray]) -> Callable[[nn.Layer, Any], None]:
    def keep(layer: nn.Layer, inputs: Any) -> None:
        recorded.append(inputs[0].astype("float32").numpy())  # they have 16 bits under mixed precision

    return keep


@contextlib.contextmanager
def _evaluating(model: nn.Layer) -> Iterator[None]:
    """Within this context the model is in evaluation mode; afterwards each layer is in its previous mode."""
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
