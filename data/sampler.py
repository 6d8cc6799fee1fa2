"""The order of training pictures, the same for every pipeline."""

from collections.abc import Iterator

import numpy as np
from paddle.io import BatchSampler

from . import streams


class EpochBatchSampler(BatchSampler):
    """A sampler of batches of keys (epoch, index); (seed, epoch) determine the order. It drops a partial last batch.

    Args:
        size: number of pictures.
        batch_size: pictures per batch of this process.
        part, parts: the number of this process, and the number of processes. The batches of a step follow each other
            in the order, so that together they are one batch of batch_size * parts.
    """

    def __init__(self, size: int, batch_size: int, seed: int, part: int = 0, parts: int = 1):
        self.size, self.batch_size, self.seed, self.epoch, self.start = size, batch_size, seed, 0, 0
        self.part, self.parts = part, parts

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and the step within it to start at."""
        self.epoch, self.start = epoch, start

    def indices(self) -> np.ndarray:
        """Return the epoch's order from the start step on: int64 [steps, batch_size]."""
        order = streams.generator(streams.ORDER, self.seed, self.epoch).permutation(self.size)
        order = order[: len(self) * self.parts * self.batch_size].reshape(len(self), self.parts, self.batch_size)
        return order[self.start :, self.part]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.indices():
            yield [(self.epoch, int(index)) for index in batch]

    def __len__(self) -> int:
        return self.size // (self.batch_size * self.parts)
