"""The recipe's Adam, AdamW and Muon as alternatives, and options of all: layer decay and gradient clipping."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import paddle
from paddle import Tensor, nn
from paddle.nn.utils import vector_to_parameters
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LRScheduler

from common import paddle_private
from engine.system import processes
from engine.weights.pdparams import MOMENTUM
from models import RegionViT, cpu
from models.layers import DepthwiseConv2D

Rate: TypeAlias = float | LRScheduler
Pair = tuple[Tensor, Tensor]  # a parameter and its gradient
SHARED = "_pow_acc_0"  # end of the names of states that all parameters of a row share: the powers of Adam's betas


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
        name: `Adam`: `weight_decay` is L2; `AdamW`: it is decoupled, and spares norms, biases and `rel_pos`; `Muon`:
            likewise.
        layer_decay: see `decay_layer_rates`; 1 keeps one rate for all layers, and works for any model.
        clip_norm: the largest norm of all gradients together; 0: no clipping.
    """
    if layer_decay != 1:
        decay_layer_rates(model, layer_decay)
    clip = ClipGradByGlobalNorm(clip_norm) if clip_norm else None
    if name in ("AdamW", "Muon"):
        return {"AdamW": AdamW, "Muon": Muon}[name](schedule, model, weight_decay, clip)
    return Adam(schedule, model.parameters(), l2=weight_decay, clip=clip)


class _InRows(Optimizer):
    """Updates parameters that lie end to end in few rows: one for each precision, learning rate and kind of decay.

    Paddle launches a kernel or more for each parameter of a model; RegionViT-Tiny has 238. A row takes one, and few
    more to gather its parameters and their gradients; the parameters become views of it. Each number is updated as
    Paddle would update it in its own parameter, to the same bits. State dicts look as if there were no rows.

    On a CPU there are no rows: a launch costs nothing there, and Paddle's update of many parameters, which is faster
    there, rounds the numbers at the ends of a parameter otherwise than those in its middle.
    """

    l2 = 0.0

    def __init__(self, learning_rate: Rate, parameters: Sequence[Tensor], **keywords: Any):
        super().__init__(learning_rate, parameters=parameters, multi_precision=True, **keywords)
        self.in_rows = not cpu.applies(parameters[0])
        self._rows: dict[str, _Row] = {}  # by the generated name of their first parameter; {} before the first step
        self._loaded: dict[str, Any] = {}  # until the first step, which knows which parameters have gradients

    def is_decayed(self, parameter: Tensor) -> bool:
        """Return whether the update treats a parameter as decayed."""
        return False

    def step(self) -> None:
        """Update the parameters that have gradients.

        Raises:
            RuntimeError: in rows, they are not those of the first step.
        """
        super().step()
        for row in self._rows.values():
            row.give_back()

    def append_regularization_ops(self, parameters_and_grads: list[Pair], regularization: None = None) -> list[Pair]:
        """Return the pairs (what to update, its gradients) with L2, after clipping; `step` calls it."""
        if not self.in_rows:
            self._continue()
            if not self.l2:
                return parameters_and_grads
            return [(parameter, gradient + parameter * self.l2) for parameter, gradient in parameters_and_grads]
        groups = _grouped(parameters_and_grads, self._alike)
        if not self._rows:
            self._rows = {parameters[0].name: _Row(parameters) for parameters, _ in groups}
        self._continue()
        self._check([parameter.name for parameters, _ in groups for parameter in parameters])
        rows = [(self._rows[parameters[0].name].gather(), _flat(gradients)) for parameters, gradients in groups]
        return [(row, gradients.add_(row * self.l2) if self.l2 else gradients) for row, gradients in rows]

    def state_dict(self) -> dict[str, Any]:
        """Return Paddle's state dict of each parameter; float32 weights are there for parameters of 16 bits."""
        state = super().state_dict()
        schedule = {key: value for key, value in state.items() if key == "LR_Scheduler"}
        if self._loaded:
            return {**self._loaded, **schedule}
        if not self._rows:
            return state
        masters = {"master_weights": found} if (found := self.masters()) else {}
        values: dict[str, Any] = {}
        for name, row in self._rows.items():
            for kind in (key.removeprefix(name) for key in state if key.startswith(f"{name}_")):
                values |= row.apart(state[name + kind], kind)
        return {**values, **masters, **schedule}

    def set_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, before the first step."""
        schedule = {key: value for key, value in state_dict.items() if key == "LR_Scheduler"}
        super().set_state_dict(schedule)
        self._loaded = {key: value for key, value in state_dict.items() if key not in schedule}

    def masters(self) -> dict[str, Tensor]:
        """Return the float32 weights of parameters of 16 bits by generated names; {} before the first step."""
        if self._loaded:
            return self._loaded.get("master_weights", {})
        found = paddle_private.master_weights(self)
        if not self.in_rows:
            return found
        return {key: part for name in found for key, part in self._rows[name].apart(found[name]).items()}

    def _alike(self, pair: Pair) -> tuple[str, float, bool]:
        """Return what parameters of one row have in common."""
        parameter, gradient = pair
        return str(gradient.dtype), parameter.optimize_attr["learning_rate"], self.is_decayed(parameter)

    def _check(self, names: list[str]) -> None:
        expected = [parameter.name for row in self._rows.values() for parameter in row.parameters]
        if names != expected:
            changed = sorted(set(names).symmetric_difference(expected))
            raise RuntimeError(f"not the parameters with gradients of the first step: {', '.join(changed)}")

    def _continue(self) -> None:
        """Give Paddle the state that was loaded, if there is any, by row."""
        if not self._loaded:
            return
        state, self._loaded = self._loaded, {}
        masters = state.pop("master_weights", {})
        if self.in_rows:
            states = [row.together(state) for row in self._rows.values()]
            state = {key: value for each in states for key, value in each.items()}
            masters = {name: row.master(masters) for name, row in self._rows.items() if name in masters}
        paddle_private.load_accumulators(self, state, masters)


class _Row:
    """Parameters end to end, which Paddle updates as one parameter with the name, rate and decay of the first one."""

    def __init__(self, parameters: Sequence[Tensor]):
        self.parameters, self.name = parameters, parameters[0].name
        rate = parameters[0].optimize_attr["learning_rate"]
        attributes = paddle.ParamAttr(initializer=nn.initializer.Constant(0.0), learning_rate=rate)
        self.row = paddle.create_parameter([1], "float32", attr=attributes)
        self.row.name = self.name
        self.nothing = self.row.clone().detach()

    def gather(self) -> Tensor:
        """Return the row with the parameters' numbers, which others may have changed since the last step."""
        paddle_private.share(_flat(self.parameters), self.row)
        return self.row

    def give_back(self) -> None:
        """Give the row's numbers to the parameters: views, or copies where Paddle has none."""
        vector_to_parameters(self.row, self.parameters)
        paddle_private.share(self.nothing, self.row)  # so that copies are all that is left

    def apart(self, value: Tensor, kind: str = "") -> dict[str, Tensor]:
        """Return a state of the row by parameter: {generated name + kind: its part}."""
        if kind.endswith(SHARED):
            return {parameter.name + kind: value for parameter in self.parameters}
        return {parameter.name + kind: part for parameter, part in _cut(value, self.parameters)}

    def together(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the states of the row in a state dict of parameters, by Paddle's keys."""
        joined = {}
        for key in (key for key in state if key.startswith(f"{self.name}_")):
            values = (paddle.to_tensor(state[each.name + key.removeprefix(self.name)]) for each in self.parameters)
            joined[key] = state[key] if key.endswith(SHARED) else _flat(values)
        return joined

    def master(self, masters: dict[str, Tensor]) -> Tensor:
        """Return the float32 weights of the row, from those of its parameters."""
        row = _flat(masters[parameter.name] for parameter in self.parameters)
        row.name = masters[self.name].name  # Paddle finds the moments by this name
        return row


class Adam(_InRows, paddle.optimizer.Adam):
    """Paddle's Adam with L2: the same numbers with fewer launches.

    Paddle would add L2 to each gradient separately, two operators per parameter. On a CPU the update is Paddle's for
    many tensors at once, which Paddle has only for classes named Adam, and only for parameters that had a gradient in
    the first step.
    """

    def __init__(
        self,
        learning_rate: Rate,
        parameters: Iterable[Tensor],
        l2: float,
        clip: nn.ClipGradByGlobalNorm | None = None,
    ):
        parameters = list(parameters)
        super().__init__(learning_rate, parameters, grad_clip=clip, use_multi_tensor=cpu.applies(parameters[0]))
        self.l2 = l2


class AdamW(_InRows, paddle.optimizer.AdamW):
    """Paddle's AdamW, in rows; its decay spares norms, biases and `rel_pos`.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    def __init__(
        self,
        learning_rate: Rate,
        model: nn.Layer,
        weight_decay: float,
        clip: nn.ClipGradByGlobalNorm | None = None,
    ):
        self.decayed = {weight.name for weight in decayed_weights(model)}  # generated names: Paddle asks by them
        super().__init__(
            learning_rate,
            model.parameters(),
            weight_decay=weight_decay,
            apply_decay_param_fun=self.decayed.__contains__,
            grad_clip=clip,
        )

    def is_decayed(self, parameter: Tensor) -> bool:
        return parameter.name in self.decayed


class Muon(AdamW):
    """Orthogonalized momentum for the matrices inside a model; AdamW for its head and all other parameters.

    An update is the momentum with singular values near 1 in place of its own, times 0.2 sqrt(longer side): so it is
    about as long as AdamW's, and rates and decay suit both. Processes share the work: each orthogonalizes its part.

    Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the factor: Liu et al.,
    "Muon is Scalable for LLM Training", 2025, arXiv 2502.16982.
    """

    momentum = 0.95

    def __init__(
        self,
        learning_rate: Rate,
        model: nn.Layer,
        weight_decay: float,
        clip: nn.ClipGradByGlobalNorm | None = None,
    ):
        super().__init__(learning_rate, model, weight_decay, clip)
        self.decay = weight_decay
        self.inner = {weight.name for weight in inner_matrices(model)}
        self.momenta: dict[str, Tensor] = {}  # by generated names

    def append_regularization_ops(self, parameters_and_grads: list[Pair], regularization: None = None) -> list[Pair]:
        """Update the matrices; return the pairs that are left to AdamW."""
        # Sorted, so that each process gets its share of every shape.
        inner = sorted((pair for pair in parameters_and_grads if pair[0].name in self.inner), key=_shape)
        for (parameter, _), update in zip(inner, orthogonalized_together(self._advance(inner)), strict=True):
            rate = self.get_lr() * parameter.optimize_attr["learning_rate"]
            length = 0.2 * max(update.shape) ** 0.5
            update = update.reshape(parameter.shape) * (rate * length)
            paddle.assign(parameter * (1 - rate * self.decay) - update, parameter)
        rest = [pair for pair in parameters_and_grads if pair[0].name not in self.inner]
        return super().append_regularization_ops(rest)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each parameter: a momentum, or what AdamW keeps."""
        return {**super().state_dict(), **{f"{name}_{MOMENTUM}": value for name, value in self.momenta.items()}}

    def set_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, before the first step."""
        momenta = {key: value for key, value in state_dict.items() if key.endswith(MOMENTUM)}
        self.momenta = {key.removesuffix(f"_{MOMENTUM}"): paddle.to_tensor(value) for key, value in momenta.items()}
        super().set_state_dict({key: value for key, value in state_dict.items() if key not in momenta})

    def _advance(self, pairs: list[Pair]) -> list[Tensor]:
        """Advance the momenta by gradients; return what Nesterov's step follows, as matrices."""
        ahead = []
        for parameter, gradient in pairs:
            before = self.momenta.get(parameter.name, paddle.zeros_like(gradient))
            self.momenta[parameter.name] = now = before.lerp(gradient, 1 - self.momentum)
            ahead.append(now.lerp(gradient, 1 - self.momentum).flatten(1))
        return ahead


def decayed_weights(model: nn.Layer) -> list[Tensor]:
    """Return the parameters that AdamW decays: matrices of linear layers and kernels of convolutions."""
    return [layer.weight for layer in model.sublayers(include_self=True) if isinstance(layer, nn.Linear | nn.Conv2D)]


def inner_matrices(model: nn.Layer) -> list[Tensor]:
    """Return the parameters that Muon orthogonalizes: those that AdamW decays, but for the head and depth-wise kernels.

    A kernel [out, in, k, k] is a matrix [out, in k k].
    """
    outer = [layer for name, layer in model.named_sublayers() if name == "head" or isinstance(layer, DepthwiseConv2D)]
    names = {weight.name for layer in outer for weight in layer.parameters()}
    return [weight for weight in decayed_weights(model) if weight.name not in names]


def orthogonalized(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return U V^T, roughly, for each matrix U S V^T: singular values between 0.7 and 1.2, by Newton-Schulz iterations.

    Matrices of one shape that follow each other are computed together. Iterations and their coefficients: Jordan.
    """
    found = []
    for (rows, columns), group in itertools.groupby(matrices, key=lambda matrix: tuple(matrix.shape)):
        x = paddle.stack(list(group))
        x = x.transpose([0, 2, 1]) if rows > columns else x
        x = x / (x.square().sum(axis=[1, 2], keepdim=True).sqrt() + 1e-7)
        for _ in range(5):
            square = paddle.matmul(x, x, transpose_y=True)
            x = 3.4445 * x + paddle.matmul(2.0315 * paddle.matmul(square, square) - 4.7750 * square, x)
        found += (x.transpose([0, 2, 1]) if rows > columns else x).unbind()
    return found


def orthogonalized_together(matrices: list[Tensor]) -> list[Tensor]:
    """Return what `orthogonalized` does, where each process computes its share of the matrices."""
    if processes.size() == 1:
        return orthogonalized(matrices)
    parts, mine = [paddle.zeros_like(matrix) for matrix in matrices], slice(processes.rank(), None, processes.size())
    parts[mine] = orthogonalized(matrices[mine])
    return [part for _, part in _cut(processes.total(_flat(parts)), matrices)]


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
        rows = [(parameters, _flat(gradients)) for parameters, gradients in _grouped(parameters_and_grads, _precision)]
        # Not Tensor.norm: on a CPU, Paddle 3 adds up so that a million numbers cost three digits.
        norm = sum(row.astype("float32").square().sum() for _, row in rows).sqrt()
        scale = self.clip_norm / norm.clip(min=self.clip_norm)
        return [pair for parameters, row in rows for pair in _cut(row * scale.astype(row.dtype), parameters)]


def _grouped(parameters_and_grads: list[Pair], key: Callable[[Pair], Any]) -> list[tuple[Sequence[Tensor], ...]]:
    """Return the parameters and the gradients of each value of a key, in their order."""
    groups = itertools.groupby(sorted(parameters_and_grads, key=key), key)
    return [tuple(zip(*pairs, strict=True)) for _, pairs in groups]


def _shape(parameter_and_gradient: Pair) -> list[int]:
    return list(parameter_and_gradient[0].shape)


def _precision(parameter_and_gradient: Pair) -> str:
    return str(parameter_and_gradient[1].dtype)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return paddle.concat([tensor.flatten() for tensor in tensors])


def _cut(row: Tensor, parameters: Sequence[Tensor]) -> list[Pair]:
    """Return the pairs (parameter, its part of a row)."""
    parts = row.split([int(parameter.size) for parameter in parameters])
    return [(parameter, part.reshape(parameter.shape)) for parameter, part in zip(parameters, parts, strict=True)]
