"""All random streams of a run in one table: the values that seed each, and the number that separates it from others.

A stream is seeded by `[*values, number]`, so its draws are a function of these values alone: neither the number of
workers nor a resume changes them. A number must never change, or an older run could not be resumed bit for bit. It
must not be 0, because numpy ignores trailing zeros of a seed.
"""

import random
import threading

import numpy as np

#                     draws                                    seeded by
ORDER = ()  #         order of an epoch's pictures             seed, epoch
HOST = ()  #          the notebook's transforms of a picture   seed, epoch, index
STEP = ()  #          dropout and stochastic depth of a step   seed, step, process
AUGMENTATION = (1,)  # parameters of the fast pipeline         seed, epoch
MIXING = (1,)  #      mixup and CutMix of a batch              seed, step, process, batch within the step
RANDAUGMENT = (2,)  # operations of RandAugment                seed, epoch
ERASING = (3,)  #     boxes of random erasing                  seed, epoch
CORRUPTION = (5,)  #  what a corruption draws for a picture    seed, corruption, severity, index
HOLDOUT = 42  #       held-out training pictures               nothing: runs of all seeds are validated on the same ones


def generator(stream: tuple[int, ...], *values: int) -> np.random.Generator:
    """Return the generator of a stream for these values."""
    return np.random.default_rng([*values, *stream])


def step_seed(seed: int, step: int, process: int) -> int:
    """Return the seed of Paddle's generators for a training step."""
    return int(np.random.SeedSequence([seed, step, process, *STEP]).generate_state(1)[0])


class _OldGenerators(threading.local):
    """Python's generator and numpy's of old, for each thread its own: seeding them is quick, making them is not."""

    def __init__(self) -> None:
        self.python, self.numpy = random.Random(), np.random.RandomState()


_OLD = _OldGenerators()


def picture_generators(seed: int, epoch: int, index: int) -> tuple[random.Random, np.random.RandomState]:
    """Return the two generators for one picture of the host pipeline, until the thread asks for another one's."""
    for_python, for_numpy = picture_seeds(seed, epoch, index)
    _OLD.python.seed(for_python)
    _OLD.numpy.seed(for_numpy)
    return _OLD.python, _OLD.numpy


def picture_seeds(seed: int, epoch: int, index: int) -> tuple[int, int]:
    """Return the seeds of the generators for one picture of the host pipeline."""
    for_python, for_numpy = np.random.SeedSequence([seed, epoch, index, *HOST]).generate_state(2)
    return int(for_python), int(for_numpy)


def holdout_order(count: int) -> np.ndarray:
    """Return the permutation of `count` training pictures whose first ones are held out: int64 [count]."""
    return np.random.RandomState(HOLDOUT).permutation(count)
