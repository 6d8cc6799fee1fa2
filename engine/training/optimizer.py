"""The recipe's Adam, AdamW as an alternative, and options of both: layer decay and gradient clipping."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LRScheduler

from common import paddle_private
from models import RegionViT

Rate: TypeAlias = float | LRScheduler
Pair = tuple[Tensor, Tensor]  # a parameter and its gradient


def build_optimizer(
    name: str,
    schedule: Rate,
    model: nn.Layer,
    *,
    weight_decay: float,
    layer_decay: float = 1.0,
    clip_norm: float = 0.0,
) -> Optimizer:
    """Return the optimizer of a model.

    Args:
        name: `Adam`: `weight_decay` is L2; `AdamW`: it is decoupled, and spares norms, biases and `rel_pos`.
        layer_decay: see `decay_layer_rates`; 1 keeps one rate for all layers, and works for any model.
        clip_norm: the largest norm of all gradients together; 0: no clipping.
    """
    if layer_decay != 1:
        decay_layer_rates(model, layer_decay)
    clip = ClipGradByGlobalNorm(clip_norm) if clip_norm else None
    if name == "AdamW":
        return AdamW(schedule, model, weight_decay, clip)
    return Adam(schedule, model.parameters(), l2=weight_decay, clip=clip)


class _KeepsLoadedState(Optimizer):
    def state_dict(self) -> dict:
        """Return Paddle's state dict; Paddle 2.6 alone leaves out loaded values that no step has used yet."""
        return {**paddle_private.accumulators(self), **super().state_dict()}


class Adam(_KeepsLoadedState, paddle.optimizer.Adam):
    """Paddle's Adam with L2: the same numbers with fewer launches.

    Paddle adds `l2` times the parameter to each gradient separately, two operators per parameter: 476 per step for
    RegionViT-Tiny. Here all of them lie in one row for it. The update itself is Paddle's for many tensors at once,
    which Paddle has only for classes named Adam, and only for parameters that had a gradient in the first step.
    """

    def __init__(
        self,
        learning_rate: Rate,
        parameters: Iterable[Tensor],
        l2: float,
        clip: nn.ClipGradByGlobalNorm | None = None,
    ):
        super().__init__(learning_rate, parameters=parameters, grad_clip=clip, use_multi_tensor=True)
        self.l2 = l2

    def append_regularization_ops(self, parameters_and_grads: list[Pair], regularization: None = None) -> list[Pair]:
        """Return the pairs (parameter, gradient) with L2 added to the gradients, after clipping; `step` calls it."""
        if self.l2 == 0:
            return parameters_and_grads
        with_l2 = []
        for parameters, gradients in _by_precision(parameters_and_grads):
            with_l2 += _cut(_row(gradients) + _row(parameters) * self.l2, parameters)
        return with_l2


class AdamW(_KeepsLoadedState, paddle.optimizer.AdamW):
    """Paddle's AdamW, whose decay spares norms, biases and `rel_pos`; Paddle has no update of many tensors for it.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    def __init__(
        self,
        learning_rate: Rate,
        model: nn.Layer,
        weight_decay: float,
        clip: nn.ClipGradByGlobalNorm | None = None,
    ):
        decayed = {weight.name for weight in decayed_weights(model)}  # generated names: Paddle asks by them
        super().__init__(
            learning_rate,
            parameters=model.parameters(),
            weight_decay=weight_decay,
            apply_decay_param_fun=lambda name: name in decayed,
            grad_clip=clip,
        )


def decayed_weights(model: nn.Layer) -> list[Tensor]:
    """Return the parameters that AdamW decays: matrices of linear layers and kernels of convolutions."""
    return [layer.weight for layer in model.sublayers(include_self=True) if isinstance(layer, nn.Linear | nn.Conv2D)]


def decay_layer_rates(model: RegionViT, decay: float) -> None:
    """Let each layer of a RegionViT learn at `decay` times the rate of the next one; norm and head at the full rate.

    Source: Clark et al., "ELECTRA", ICLR 2020, appendix A; for vision transformers Bao et al., "BEiT", ICLR 2022.
    """
    groups = layers_in_order(model)
    for depth, layers in enumerate(groups):
        for parameter in itertools.chain.from_iterable(layer.parameters() for layer in layers):
            parameter.optimize_attr = {"learning_rate": decay ** (len(groups) - 1 - depth)}  # a factor, to Paddle


def layers_in_order(model: RegionViT) -> list[list[nn.Layer]]:
    """Return the layers of a RegionViT in groups, from input to output: patch embeddings, each encoder, norm and head.

    A stage's projection, before its first encoder, and its positional encoding belong to that encoder's group.
    """
    groups = [[model.patch_embed, model.cls_token]]
    for stage in model.layers:
        projection, first, *others = stage.block
        groups += [[projection, first, *([stage.peg] if stage.peg else [])], *([encoder] for encoder in others)]
    return [*groups, [model.norm, model.head]]


class ClipGradByGlobalNorm(nn.ClipGradByGlobalNorm):
    """Paddle's clipping to a norm over all gradients, with few operators, and without changing `parameter.grad`.

    Paddle 3 writes into these, and the dashboard would show them clipped.
    """

    def __call__(self, parameters_and_grads: list[Pair]) -> list[Pair]:
        """Return pairs (parameter, gradient) with new gradients; an optimizer's `step` calls it."""
        rows = [(parameters, _row(gradients)) for parameters, gradients in _by_precision(parameters_and_grads)]
        # Not Tensor.norm: on a CPU, Paddle 3 adds up so that a million numbers cost three digits.
        norm = sum(row.astype("float32").square().sum() for _, row in rows).sqrt()
        scale = self.clip_norm / norm.clip(min=self.clip_norm)
        return [pair for parameters, row in rows for pair in _cut(row * scale.astype(row.dtype), parameters)]


def _by_precision(parameters_and_grads: list[Pair]) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """Yield the parameters and the gradients of each type that gradients have."""
    for _, pairs in itertools.groupby(sorted(parameters_and_grads, key=_dtype), _dtype):
        parameters, gradients = zip(*pairs, strict=True)
        yield parameters, gradients


def _dtype(parameter_and_gradient: Pair) -> str:
    return str(parameter_and_gradient[1].dtype)


def _row(tensors: Iterable[Tensor]) -> Tensor:
    return paddle.concat([tensor.flatten() for tensor in tensors])


def _cut(row: Tensor, parameters: tuple[Tensor, ...]) -> list[Pair]:
    """Return the pairs (parameter, gradient) of gradients that lie in one row."""
    parts = row.split([int(parameter.size) for parameter in parameters])
    return [(parameter, part.reshape(parameter.shape)) for parameter, part in zip(parameters, parts, strict=True)]
