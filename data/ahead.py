"""Batches copied to the device one ahead of the one in use, without the host or a GPU waiting for the copy."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import paddle
from paddle import Tensor

T = TypeVar("T")


def upload(array: np.ndarray) -> Tensor:
    """Copy an array to Paddle's current device.

    A GPU copies from pinned memory once it has done what is queued already, and nobody waits; `paddle.to_tensor` alone
    would (PaddlePaddle/PaddleFleet pull request 1068). Paddle keeps the pinned memory until the copy is done
    (PaddlePaddle/Paddle pull request 42668).
    """
    if paddle.get_device() == "cpu":
        return paddle.to_tensor(array)
    return paddle.to_tensor(array, place=paddle.CUDAPinnedPlace()).cuda(blocking=False)


def one_ahead(batches: Iterable[T]) -> Iterator[T]:
    """Yield batches in order; each is made, and so its copy is queued, before the one before it is used."""
    coming = iter(batches)
    for ready in coming:
        for following in coming:
            yield ready
            ready = following
        yield ready
