"""The loader of the host pipeline: batches made by worker processes or by the main one, as tensors."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from paddle import Tensor
from paddle.io import BatchSampler, DataLoader, IterableDataset

from .workers import Workers


class Pictures(Protocol):
    """What `HostLoader` loads. Workers make pictures; normalizing them is quicker than sending float32 would be."""

    def picture(self, key: Any) -> tuple[np.ndarray, np.int64]:
        """Return a picture, uint8 [size, size, 3], and its label."""

    def normalised(self, pictures: np.ndarray, keys: Sequence) -> np.ndarray:
        """Return the pictures of these keys, float32 [batch, 3, size, size]."""


class HostLoader:
    """Batches (pictures float32 [batch, 3, size, size], labels int64 [batch]) of a dataset, in the sampler's order.

    Workers start with the first epoch and live as long as the loader, unless an epoch is left in the middle.

    Args:
        dataset: see `Pictures`.
        num_workers: processes that make batches; with 0 a thread of the main process does.

    Raises:
        DataError: on iteration: a worker could not be started, or died; and what the dataset raises.
    """

    def __init__(self, dataset: Pictures, batch_sampler: BatchSampler, num_workers: int):
        self.dataset, self.batch_sampler, self.num_workers = dataset, batch_sampler, num_workers
        self._idle: Workers | None = None

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[Tensor]]:
        batches, make = list(self.batch_sampler), functools.partial(make_batch, self.dataset)
        if not self.num_workers:
            yield from _tensors(_normalised(self.dataset, batches, map(make, batches)))
            return
        workers, self._idle = self._idle or Workers(make, self.num_workers), None
        try:
            tensors = _tensors(_normalised(self.dataset, batches, workers.results(batches)))
            for batch in tensors:  # noqa: UP028  (`yield from` would first wait for the batch that is being made)
                yield batch
        except BaseException:  # also if the epoch is left in the middle
            workers.end()
            raise
        self._idle = workers


def make_batch(dataset: Pictures, keys: Sequence) -> list[np.ndarray]:
    """Return the pictures of these keys, uint8 [batch, size, size, 3], and their labels [batch]."""
    pictures, labels = zip(*map(dataset.picture, keys), strict=True)
    return [np.stack(pictures), np.array(labels)]


def _normalised(dataset: Pictures, batches: list, made: Iterator[list[np.ndarray]]) -> Iterator[list[np.ndarray]]:
    for keys, (pictures, labels) in zip(batches, made, strict=True):
        yield [dataset.normalised(pictures, keys), labels]


class _Finished(IterableDataset):
    """Finished batches for a DataLoader, which would hang if making them raised an error; it is kept instead."""

    def __init__(self, batches: Iterator[list[np.ndarray]]):
        self.batches = batches
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        try:
            yield from self.batches
        except Exception as error:
            self.error = error


def _tensors(batches: Iterator[list[np.ndarray]]) -> Iterator[list[Tensor]]:
    """Turn batches into tensors on Paddle's device, a few batches ahead.

    Paddle's DataLoader does so in a thread and copies them to a GPU while that computes; its own worker processes
    exist on Linux alone.
    """
    finished = _Finished(batches)
    yield from DataLoader(finished, batch_size=None)
    if finished.error:
        raise finished.error
