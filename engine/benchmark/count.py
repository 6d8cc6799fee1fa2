"""Counting what one step launches, from the events of Paddle's profiler; on a CPU, what a GPU would launch.

A launch is an operator that does work: in the forward pass, the backward pass or the optimizer. A view is none, an
update of many tensors at once is one for each tensor, because that is what Paddle's GPU kernel launches, a
concatenation or its inverse is one whatever the number of tensors, and `clear_grad` is one for each gradient that it
fills with zeros. Casts are counted apart.

The profiler does not show, and so the count lacks: the sum where the gradients of several uses of a tensor meet, the
copy that an operator makes of a transposed view first, and further kernels of one operator, such as the second product
in the gradient of a product. A GPU's own count, `kernels_per_step`, has them all.
"""

import contextlib
import dataclasses
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import paddle
from paddle import Tensor, nn, profiler

from engine.system.precision import MixedPrecision
from models import cpu

VIEWS = {"reshape", "flatten", "transpose", "slice", "split", "split_with_num", "squeeze", "unsqueeze"}
VIEWS |= {"reshape_grad", "flatten_grad", "transpose_grad", "squeeze_grad", "unsqueeze_grad"}
OF_MANY = {"merged_adam", "merged_momentum"}
# Has kernels on a CPU and is no operator's result otherwise, so it shows where a GPU would have 16 bits.
STAND_IN = paddle.float64


def stand_in_precision(level: str) -> MixedPrecision:
    """Return mixed precision at a level for a CPU, in `STAND_IN` instead of 16 bits."""
    precision = MixedPrecision()
    precision.level, precision.dtype = level, str(STAND_IN).rpartition(".")[2]
    return precision


def count(step: Callable[[], Tensor], on_gpu: bool, parameters: int = 1) -> dict[str, int]:
    """Run a step under the profiler and return its counts: launches and casts; on a GPU also kernels, copies and waits.

    Args:
        parameters: of the model: as many tensors are in an update of many at once.
    """
    targets = [profiler.ProfilerTarget.CPU] + [profiler.ProfilerTarget.GPU] * on_gpu
    # Without a handler for the trace, Paddle writes the trace into the current folder.
    profile = profiler.Profiler(targets=targets, on_trace_ready=lambda _: None)
    with as_on_a_gpu() as unseen, profile:
        step().numpy()
    return _counts(profile.profiler_result.get_data().values(), on_gpu, parameters, unseen)


def kept(forward: Callable[[], Tensor], weights: Iterable[Tensor]) -> int:
    """Run a forward pass, and return how many bytes it keeps for its backward pass, apart from the weights."""
    found: list[weakref.ref[_Kept]] = []

    def pack(tensor: Tensor) -> _Kept:
        wrapped = _Kept(tensor)
        found.append(weakref.ref(wrapped))
        return wrapped

    with paddle.autograd.saved_tensors_hooks(pack, lambda wrapped: wrapped.tensor):
        result = forward()  # it holds what is kept
    tensors = [wrapped.tensor for each in found if (wrapped := each())]
    bytes_at = {tensor.data_ptr(): int(tensor.size) * tensor.element_size() for tensor in tensors}
    del result
    return sum(bytes_at[place] for place in set(bytes_at) - {weight.data_ptr() for weight in weights})


@dataclasses.dataclass(eq=False)
class _Kept:
    tensor: Tensor


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[Counter]:
    """Run Paddle's own operators and views, as on a GPU, so that a machine without one counts the same.

    Yields a counter of "fills", which the profiler does not show, and of "casts" that only a CPU needs.
    """
    unseen: Counter = Counter()
    name = "FLAGS_use_stride_kernel"
    before = paddle.get_flags(name)
    paddle.set_flags({name: True})
    clear, norm = paddle.Tensor.clear_gradient, nn.functional.layer_norm

    def clear_gradient(tensor: Tensor, set_to_zero: bool = True) -> None:
        unseen["fills"] += bool(set_to_zero and tensor.grad is not None)
        clear(tensor, set_to_zero)

    def layer_norm(x: Tensor, shape: Any, weight: Any = None, bias: Any = None, *rest: Any, **keywords: Any) -> Tensor:
        """As a GPU's, take parameters in float32 for x of another type."""
        if x.dtype == STAND_IN and weight is not None and weight.dtype != STAND_IN:
            unseen["casts"] += 4 if paddle.is_grad_enabled() else 2  # two parameters, forward and backward
            weight, bias = weight.astype(STAND_IN), bias.astype(STAND_IN)
        return norm(x, shape, weight, bias, *rest, **keywords)

    try:
        with (
            cpu.plain(),
            mock.patch.object(paddle.Tensor, "clear_gradient", clear_gradient),
            mock.patch.object(nn.functional, "layer_norm", layer_norm),
        ):
            yield unseen
    finally:
        paddle.set_flags(before)


def _counts(roots: Iterable[Any], on_gpu: bool, parameters: int, unseen: Counter) -> dict[str, int]:
    """Count the profiler's events below its roots, one per thread."""
    nodes = [node for root in roots for node in _below(root)]
    # One event per kernel that an operator runs: Paddle 2.6 calls it "compute", 3.x "kernel launch". A name ends in _
    # if the operator works in place.
    run = Counter(
        node.name.split()[0].removesuffix("_") for node in nodes if node.name.endswith((" compute", " kernel launch"))
    )
    casts = run.pop("cast", 0)
    launches = sum(times * (parameters if name in OF_MANY else 1) for name, times in run.items() if name not in VIEWS)
    counts = {"launches_per_step": launches + unseen["fills"], "casts_per_step": casts - unseen["casts"]}
    if on_gpu:
        calls = [call for node in nodes for call in node.runtime_node]
        kinds = [event.type.name for call in calls for event in call.device_node]
        counts["kernels_per_step"] = kinds.count("Kernel")
        counts["copies_per_step"] = kinds.count("Memcpy")
        counts["synchronisations_per_step"] = sum("Synchronize" in call.name for call in calls)
    return counts


def _below(node: Any) -> Iterator[Any]:
    yield node
    for child in node.children_node:
        yield from _below(child)
