"""The order of training pictures, the same for every pipeline."""

from paddle.io import BatchSampler

from . import streams


class EpochBatchSampler(BatchSampler):
    """Batches of keys (epoch, index) in an order that (seed, epoch) decide; a partial last batch is dropped.

    Args:
        size: pictures in all.
        batch_size: pictures a batch of this process.
        part, parts: which process this is, and of how many; a step's batches of all of them follow each other in the
            order, so that together they are one batch of batch_size * parts.
    """

    def __init__(self, size, batch_size, seed, part=0, parts=1):
        self.size, self.batch_size, self.seed, self.epoch, self.start = size, batch_size, seed, 0, 0
        self.part, self.parts = part, parts

    def set_epoch(self, epoch, start=0):
        """Choose the epoch, and with which of its steps to begin."""
        self.epoch, self.start = epoch, start

    def indices(self):
        """Return the epoch's order from its first step on, int64 [steps, batch_size]."""
        order = streams.generator(streams.ORDER, self.seed, self.epoch).permutation(self.size)
        order = order[: len(self) * self.parts * self.batch_size].reshape(len(self), self.parts, self.batch_size)
        return order[self.start :, self.part]

    def __iter__(self):
        for batch in self.indices():
            yield [(self.epoch, int(index)) for index in batch]

    def __len__(self):
        return self.size // (self.batch_size * self.parts)
