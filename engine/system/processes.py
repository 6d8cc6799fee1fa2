"""The processes of one run, started by `python -m paddle.distributed.launch`; each trains on its part of every batch.

Without the launcher a run is a single process, and the functions here do nothing.
"""

import contextlib
import os
from typing import Any

import paddle
from paddle import Tensor, distributed, nn

from common import paddle_private
from engine.errors import UserError


def size() -> int:
    """Return the number of processes in the run."""
    return distributed.get_world_size()


def rank() -> int:
    """Return the rank of this process; only rank 0 writes files."""
    return distributed.get_rank()


def local_gpu() -> int:
    """Return the index of the GPU that the launcher's `--gpus` assigned to this process; 0 without a launcher."""
    return int(os.environ.get("FLAGS_selected_gpus", "0").partition(",")[0])  # noqa: SIM112


def join() -> None:
    """Join the other processes' group; `select_device` calls this once the device is selected.

    Raises:
        UserError: this build of Paddle has no means for processes to exchange anything, as for Windows.
    """
    if size() > 1 and not distributed.is_available():
        raise UserError(
            f"{size()} processes, but this build of Paddle {paddle.__version__} cannot exchange anything between them: "
            "train in one process, without paddle.distributed.launch",
            key="processes",
            value=size(),
        )
    if size() > 1 and not distributed.is_initialized():
        distributed.init_parallel_env()


def average_gradients(model: nn.Layer, afterwards: bool = False) -> nn.Layer:
    """Wrap a model so that its backward pass averages gradients over all processes.

    Args:
        afterwards: leave the averaging to `finish_gradients`. Recomputation needs this: it runs a second backward pass
            inside the first, which DataParallel does not support.
    """
    if size() == 1:
        return model
    network = paddle.DataParallel(model)
    network.grad_need_sync = not afterwards
    return network


def finish_gradients(network: Any) -> None:
    """After the backward pass, average the gradients if the backward pass did not."""
    if size() > 1 and not network.grad_need_sync:
        paddle_private.average_gradients(network.parameters())


def not_averaging(network: Any) -> contextlib.AbstractContextManager:
    """Return the context of a forward and backward pass that only accumulates gradients, to be averaged later.

    Args:
        network: as returned by `average_gradients`.
    """
    return network.no_sync() if size() > 1 else contextlib.nullcontext()


def total(tensor: Tensor) -> Tensor:
    """Return the elementwise sum of a tensor over the processes."""
    if size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def gather(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes' tensors, by rank; the numbers of rows may differ."""
    if size() == 1:
        return rows
    sizes: list[Tensor] = []
    parts: list[Tensor] = []
    distributed.all_gather(sizes, paddle.to_tensor([len(rows)]))
    lengths = [length.item() for length in sizes]
    missing = paddle.zeros([max(lengths) - len(rows), *rows.shape[1:]], dtype=rows.dtype)
    # Empty tensors are left out: Paddle 2.6 cannot concatenate them.
    whole = paddle.concat([part for part in (rows, missing) if len(part)])
    distributed.all_gather(parts, whole)
    return paddle.concat([part[:length] for part, length in zip(parts, lengths, strict=True) if length])


def agree(*numbers: int) -> bool:
    """Return whether all processes pass the same integers."""
    if size() == 1:
        return True
    largest = highest(paddle.to_tensor([*numbers, *(-number for number in numbers)])).tolist()
    return largest[: len(numbers)] == [-number for number in largest[len(numbers) :]]


def wait() -> None:
    """Wait until all processes have reached this call."""
    if size() > 1:
        distributed.barrier()


def highest(tensor: Tensor) -> Tensor:
    """Return the elementwise maximum of a tensor over the processes."""
    if size() > 1:
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
    return tensor
