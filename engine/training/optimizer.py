"""Adam as the recipe has it, AdamW beside it, and what both can be given: layer decay and clipping."""

import itertools

import paddle
from paddle import nn

from common import paddle_private


def build_optimizer(name, schedule, model, *, weight_decay, layer_decay=1.0, clip_norm=0.0):
    """Return the optimizer of a model.

    Args:
        name: `Adam`: `weight_decay` is L2; `AdamW`: it is decoupled, and spares norms, biases and `rel_pos`.
        layer_decay: see `decay_layer_rates`; 1 leaves all rates as they are, and works for any model.
        clip_norm: clip gradients to that norm, taken over all of them; 0: not at all.
    """
    if layer_decay != 1:
        decay_layer_rates(model, layer_decay)
    clip = ClipGradByGlobalNorm(clip_norm) if clip_norm else None
    if name == "AdamW":
        return AdamW(schedule, model, weight_decay, clip)
    return Adam(schedule, model.parameters(), l2=weight_decay, clip=clip)


class _KeepsWhatWasLoaded:
    def state_dict(self):
        """Return Paddle's state dict; Paddle 2.6 leaves out what was loaded and no step has taken up yet."""
        return {**paddle_private.accumulators(self), **super().state_dict()}


class Adam(_KeepsWhatWasLoaded, paddle.optimizer.Adam):
    """Paddle's Adam with L2, the same numbers for fewer launches.

    Paddle adds `l2` times the parameter to each gradient by itself, two operators a parameter: 476 a step for
    RegionViT-Tiny. Here all lie in one row for it. The update itself is Paddle's for many tensors at once; that is for
    classes named Adam only, and for those parameters that had a gradient in the first step.
    """

    def __init__(self, learning_rate, parameters, l2, clip=None):
        super().__init__(learning_rate, parameters=parameters, grad_clip=clip, use_multi_tensor=True)
        self.l2 = l2

    def append_regularization_ops(self, parameters_and_grads, regularization=None):
        """Return the pairs (parameter, gradient) with L2 in the gradients, after clipping; `step` calls it."""
        if self.l2 == 0:
            return parameters_and_grads
        with_l2 = []
        for parameters, gradients in _by_precision(parameters_and_grads):
            with_l2 += _cut(_row(gradients) + _row(parameters) * self.l2, parameters)
        return with_l2


class AdamW(_KeepsWhatWasLoaded, paddle.optimizer.AdamW):
    """Paddle's AdamW, whose decay spares norms, biases and `rel_pos`; Paddle has no update for many tensors of it.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    def __init__(self, learning_rate, model, weight_decay, clip=None):
        decayed = {weight.name for weight in decayed_weights(model)}  # generated names: Paddle asks by them
        super().__init__(
            learning_rate,
            parameters=model.parameters(),
            weight_decay=weight_decay,
            apply_decay_param_fun=lambda name: name in decayed,
            grad_clip=clip,
        )


def decayed_weights(model):
    """Return the parameters that AdamW's decay is for: matrices of linear layers, and kernels of convolutions."""
    return [layer.weight for layer in model.sublayers(include_self=True) if isinstance(layer, nn.Linear | nn.Conv2D)]


def decay_layer_rates(model, decay):
    """Have each layer of a RegionViT learn at `decay` times the rate of the next one; norm and head at the full rate.

    Source: Clark et al., "ELECTRA", ICLR 2020, appendix A; for vision transformers Bao et al., "BEiT", ICLR 2022.
    """
    groups = layers_in_order(model)
    for depth, layers in enumerate(groups):
        for parameter in itertools.chain.from_iterable(layer.parameters() for layer in layers):
            parameter.optimize_attr = {"learning_rate": decay ** (len(groups) - 1 - depth)}  # Paddle's multiplies by it


def layers_in_order(model):
    """Return the layers of a RegionViT in groups, from the pictures on: patch embeddings, each encoder, norm and head.

    What comes before a stage's first encoder (projection), and with it (positional encoding), is of its group.
    """
    groups = [[model.patch_embed, model.cls_token]]
    for stage in model.layers:
        projection, first, *others = stage.block
        groups += [[projection, first, *([stage.peg] if stage.peg else [])], *([encoder] for encoder in others)]
    return [*groups, [model.norm, model.head]]


class ClipGradByGlobalNorm(nn.ClipGradByGlobalNorm):
    """Paddle's clipping to a norm over all gradients, in few operators, and without touching the parameters' own.

    Paddle 3 writes into these, and the dashboard would show them clipped.
    """

    def __call__(self, parameters_and_grads):
        """Return pairs (parameter, gradient) with new gradients; an optimizer's `step` calls it."""
        rows = [(parameters, _row(gradients)) for parameters, gradients in _by_precision(parameters_and_grads)]
        # Not Tensor.norm, which Paddle 3 adds up so on a CPU that a million numbers cost it three digits.
        norm = sum(row.astype("float32").square().sum() for _, row in rows).sqrt()
        scale = self.clip_norm / norm.clip(min=self.clip_norm)
        return [pair for parameters, row in rows for pair in _cut(row * scale.astype(row.dtype), parameters)]


def _by_precision(parameters_and_grads):
    """Yield the parameters and the gradients of each type that gradients have."""
    for _, pairs in itertools.groupby(sorted(parameters_and_grads, key=_dtype), _dtype):
        yield zip(*pairs, strict=True)


def _dtype(parameter_and_gradient):
    return str(parameter_and_gradient[1].dtype)


def _row(tensors):
    return paddle.concat([tensor.flatten() for tensor in tensors])


def _cut(row, parameters):
    """Return the pairs (parameter, gradient) of gradients that lie in one row."""
    parts = row.split([int(parameter.size) for parameter in parameters])
    return [(parameter, part.reshape(parameter.shape)) for parameter, part in zip(parameters, parts, strict=True)]
