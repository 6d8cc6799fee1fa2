"""CIFAR-10 for training and evaluation: an archive, and loaders over it."""

import cv2
import numpy as np
from paddle.io import BatchSampler, DataLoader

from .cifar10 import Cifar10, DataError, Split, load
from .host import EvaluationPictures, TrainingPictures, unnormalise

__all__ = [
    "Cifar10",
    "DataError",
    "EpochBatchSampler",
    "Split",
    "build_eval_loader",
    "build_train_loader",
    "load",
    "unnormalise",
]


class EpochBatchSampler(BatchSampler):
    """Batches of keys (epoch, index) in an order that (seed, epoch) decide; a partial last batch is dropped."""

    def __init__(self, size, batch_size, seed):
        self.size, self.batch_size, self.seed, self.epoch = size, batch_size, seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        for step in range(len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [(self.epoch, int(index)) for index in batch]

    def __len__(self):
        return self.size // self.batch_size


def build_train_loader(split, *, batch_size, image_size, num_workers, seed):
    """Return a loader of batches (pictures float32 [batch, 3, size, size], labels int64 [batch]) to train on.

    Call `loader.batch_sampler.set_epoch(epoch)` before each epoch.

    Raises:
        DataError: the split is smaller than one batch.
    """
    if len(split) < batch_size:
        raise DataError(
            f"the {split.name} has {len(split)} pictures, fewer than one batch of {batch_size}: lower data.batch_size"
        )
    sampler = EpochBatchSampler(len(split), batch_size, seed)
    return _loader(TrainingPictures(split, image_size, seed), sampler, num_workers)


def build_eval_loader(split, *, batch_size, image_size, num_workers):
    """Return a loader of batches (pictures, labels) in order, nothing dropped."""
    dataset = EvaluationPictures(split, image_size)
    return _loader(dataset, BatchSampler(dataset, batch_size=batch_size), num_workers)


def _loader(dataset, batch_sampler, num_workers):
    return DataLoader(
        dataset,
        batch_sampler=batch_sampler,
        num_workers=num_workers,
        # With shared memory a worker allocates through Paddle, whose locks may have been held at the fork: it hung.
        use_shared_memory=False,
        worker_init_fn=_one_thread,
    )


def _one_thread(worker):
    cv2.setNumThreads(0)  # the workers are the parallelism
