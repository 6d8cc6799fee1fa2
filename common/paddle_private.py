"""Paddle's private names that this project uses, all of them. Checked on the versions in `CHECKED`.

Nothing here is promised by Paddle. When a new version breaks one of these names, this is the one file to change.
"""

from collections.abc import Iterable
from typing import Any

import paddle

CHECKED = ("2.6.2", "3.0.0", "3.1.1", "3.2.2", "3.3.1")


def set_cpu_threads(count: int) -> None:
    """Set how many threads Paddle's CPU operators use; the public OMP_NUM_THREADS makes Paddle warn on stderr."""
    paddle.base.core.set_num_threads(count)


def load_accumulators(optimizer: Any, values: dict, masters: dict) -> None:
    """Let an optimizer's first step begin with these states by name, and these float32 copies of 16-bit weights."""
    optimizer._accumulators_holder = values
    optimizer._master_weights = masters


def master_weights(optimizer: Any) -> dict:
    """Return the float32 copies of 16-bit weights by the parameters' generated names; {} before the first step."""
    return optimizer._master_weights


def share(source: Any, target: Any) -> None:
    """Give a tensor the shape, type and numbers of another one, in the same memory; its name and the rest stay."""
    source._share_underline_tensor_to(target)


def average_gradients(parameters: Iterable) -> None:
    """Average gradients over the processes now, in few large messages."""
    from paddle.distributed.fleet.utils.hybrid_parallel_util import fused_allreduce_gradients

    fused_allreduce_gradients(parameters, None)


def tf32() -> dict[str, bool]:
    """Return whether Paddle lets a GPU compute float32 products and convolutions in TF32; {} without such switches.

    GPU builds of all versions have them, CPU builds from 3.3.
    """
    core = paddle.base.core
    if not hasattr(core, "get_cublas_switch"):
        return {}
    return {"products": core.get_cublas_switch(), "convolutions": core.get_cudnn_switch()}


def allow_tf32(products: bool, convolutions: bool) -> None:
    """Switch TF32 on or off, where `tf32` returns something."""
    if tf32():
        paddle.base.core.set_cublas_switch(products)
        paddle.base.core.set_cudnn_switch(convolutions)


def gpu_kernels() -> set[tuple[str, str]]:
    """Return all kernels for GPUs that this Paddle was built with: operator, type; none for a CPU build."""
    registered = paddle.base.core._get_registered_phi_kernels("all")
    fields = ((name, *kernel.strip("()").split(", ")) for name, kernels in registered.items() for kernel in kernels)
    return {(name, dtype) for name, backend, _, dtype in fields if backend in ("GPU", "GPUDNN", "KPS")}
