"""Counting what one step runs, from the events of Paddle's profiler."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import paddle
from paddle import Tensor, profiler

from models import cpu

# Operators that do no work on a device, and are not counted.
VIEWS = {"reshape", "flatten", "transpose", "slice", "split_with_num", "split"}


def count(step: Callable[[], Tensor], on_gpu: bool) -> dict[str, int]:
    """Run a step under the profiler and return its counts: operators, and on a GPU also kernels, copies and waits.

    On a CPU these are the operators that a GPU would run.
    """
    targets = [profiler.ProfilerTarget.CPU] + [profiler.ProfilerTarget.GPU] * on_gpu
    # Without a handler for the trace, Paddle writes the trace into the current folder.
    profile = profiler.Profiler(targets=targets, on_trace_ready=lambda _: None)
    with _as_on_a_gpu(), profile:
        step().numpy()
    return _counts(profile.profiler_result.get_data().values(), on_gpu)


@contextlib.contextmanager
def _as_on_a_gpu() -> Iterator[None]:
    """Run Paddle's own operators and views, as on a GPU, so that a machine without one counts the same."""
    name = "FLAGS_use_stride_kernel"
    before = paddle.get_flags(name)
    paddle.set_flags({name: True})
    try:
        with cpu.plain():
            yield
    finally:
        paddle.set_flags(before)


def _counts(roots: Iterable[Any], on_gpu: bool) -> dict[str, int]:
    """Count the profiler's events below its roots, one per thread."""
    nodes = [node for root in roots for node in _below(root)]
    # One event per kernel that an operator runs: Paddle 2.6 calls it "compute", 3.x "kernel launch".
    run = [node.name.split()[0] for node in nodes if node.name.endswith((" compute", " kernel launch"))]
    counts = {"operators_per_step": sum(name.removesuffix("_grad") not in VIEWS for name in run)}
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
