"""The processes of one run, as `python -m paddle.distributed.launch` starts them: each takes its part of every batch.

Started without it a run is one process, for which everything here changes nothing.
"""

import contextlib
import os

import paddle
from paddle import distributed

from common import paddle_private


def size():
    """Return how many processes the run has."""
    return distributed.get_world_size()


def rank():
    """Return this process's number; 0 is the one that writes."""
    return distributed.get_rank()


def local_gpu():
    """Return the number of the GPU that the launcher's `--gpus` gave to this process; without a launcher 0."""
    return int(os.environ.get("FLAGS_selected_gpus", "0").partition(",")[0])  # noqa: SIM112


def join():
    """Meet the other processes, each on the device it has selected."""
    if size() > 1 and not distributed.is_initialized():
        distributed.init_parallel_env()


def average_gradients(model, afterwards=False):
    """Return the model to train through: its backward pass leaves the mean of all processes' gradients.

    afterwards: `finish_gradients` does, not the backward pass, within which DataParallel expects no other one, as
        recomputation is.
    """
    if size() == 1:
        return model
    network = paddle.DataParallel(model)
    network.grad_need_sync = not afterwards
    return network


def finish_gradients(network):
    """After the backward pass, average the gradients that it has not averaged itself."""
    if size() > 1 and not network.grad_need_sync:
        paddle_private.average_gradients(network.parameters())


def not_averaging(network):
    """Return the context of a forward and backward pass whose gradients wait for those of a later one, to be averaged.

    network: as `average_gradients` returns it.
    """
    return network.no_sync() if size() > 1 else contextlib.nullcontext()


def total(tensor):
    """Return a tensor's sum over the processes."""
    if size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def gather(rows):
    """Return the rows of all processes' tensors, in the processes' order; their numbers may differ."""
    if size() == 1:
        return rows
    lengths, parts = [], []
    distributed.all_gather(lengths, paddle.to_tensor([len(rows)]))
    lengths = [length.item() for length in lengths]
    missing = paddle.zeros([max(lengths) - len(rows), *rows.shape[1:]], dtype=rows.dtype)
    # Without those that have no rows, which Paddle 2.6 cannot put together.
    whole = paddle.concat([part for part in (rows, missing) if len(part)])
    distributed.all_gather(parts, whole)
    return paddle.concat([part[:length] for part, length in zip(parts, lengths, strict=True) if length])


def agree(*numbers):
    """Whether all processes have the same whole numbers."""
    if size() == 1:
        return True
    largest = highest(paddle.to_tensor([*numbers, *(-number for number in numbers)])).tolist()
    return largest[: len(numbers)] == [-number for number in largest[len(numbers) :]]


def wait():
    """Wait until all processes have come here."""
    if size() > 1:
        distributed.barrier()


def highest(tensor):
    """Return the elementwise maximum of a tensor over the processes."""
    if size() > 1:
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
    return tensor
