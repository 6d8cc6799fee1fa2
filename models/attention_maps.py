"""What a model attends to: the attention weights of all its encoders, taken down by hooks while pictures pass.

Outside of `attention_maps` there is no hook and nothing is kept: the model runs as if this module were not there.
"""

import contextlib
from dataclasses import dataclass

import numpy as np
import paddle


@dataclass(frozen=True, eq=False)
class StageAttention:
    """The attention weights of a stage's encoders for B pictures. The last axis is what is attended to: it sums to 1.

    What is masked has 0, or on a CPU up to 1.6e-28: Paddle's softmax there takes no exponential below exp(-64).

    regional: RSA, float32 numpy [encoders, B, heads, R, R], over the R = Hr*Wr regional tokens.
    local: LSA, float32 numpy [encoders, B, R, heads, 1 + ws*ws, 1 + ws*ws], in each window, regional token first.
    grid, size: (Hr, Wr) of the regional map; (H, W) of the local map, without padding.
    ws: side of a window.
    """

    regional: np.ndarray
    local: np.ndarray
    grid: tuple
    size: tuple
    ws: int


def attention_maps(model, pictures):
    """Return the attention weights of a RegionViT for pictures [B, in_chans, height, width]: a StageAttention a stage.

    The model runs in evaluation mode, and is left as it was.
    """
    with paddle.no_grad(), _evaluating(model), _recording(model) as (weights, shapes):
        model.forward_features(pictures, detection=True)  # or the last encoder's LSA is the regional tokens' alone
    stages = zip(model.layers, weights, shapes, strict=True)
    return [_stage_attention(kept, *shape, stage.ws) for stage, kept, shape in stages]


def _stage_attention(weights, grid, size, ws):
    regional, local = np.stack(weights[0::2]), np.stack(weights[1::2])  # an encoder calls for RSA, then for LSA
    encoders, B, _, R, _ = regional.shape
    return StageAttention(regional, local.reshape(encoders, B, R, *local.shape[2:]), grid, size, ws)


@contextlib.contextmanager
def _recording(model):
    """Within this context the model writes down its attention weights and the shapes of its maps, each stage its own.

    What `attn_drop` is given is the softmax itself; each is copied to the host at once.
    """
    weights, shapes, hooks = [[] for _ in model.layers], [], []

    def keep_shapes(stage, inputs, maps):
        shapes.append([tuple(map(int, each.shape[2:])) for each in maps])

    try:
        for stage, kept in zip(model.layers, weights, strict=True):
            hooks.append(stage.register_forward_post_hook(keep_shapes))
            for encoder in stage.block[1:]:
                keep = _keep_in(kept)
                hooks.append(encoder.attn.attn_drop.register_forward_pre_hook(keep))
        yield weights, shapes
    finally:
        for hook in hooks:
            hook.remove()


def _keep_in(kept):
    def keep(layer, inputs):
        kept.append(inputs[0].astype("float32").numpy())  # mixed precision has 16-bit ones

    return keep


@contextlib.contextmanager
def _evaluating(model):
    """Within this context the model is in evaluation mode; afterwards each of its layers is in its own mode again."""
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
