"""The order of training pictures, the same for every pipeline."""

import numpy as np
from paddle.io import BatchSampler


class EpochBatchSampler(BatchSampler):
    """Batches of keys (epoch, index) in an order that (seed, epoch) decide; a partial last batch is dropped."""

    def __init__(self, size, batch_size, seed):
        self.size, self.batch_size, self.seed, self.epoch = size, batch_size, seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def indices(self):
        """Return the epoch's order, int64 [steps, batch_size]."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        return order[: len(self) * self.batch_size].reshape(len(self), self.batch_size)

    def __iter__(self):
        for batch in self.indices():
            yield [(self.epoch, int(index)) for index in batch]

    def __len__(self):
        return self.size // self.batch_size
