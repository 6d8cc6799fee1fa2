"""Every random stream of a run in one table: what its seed is made of, and the number that keeps it apart.

A stream is seeded by `[*values, number]`, so what it draws is a function of these values alone: neither the number of
workers nor a resume changes it. Numbers must never change, or runs of before could not be resumed to the same bits. A
number of 0 would not keep a stream apart, because numpy ignores trailing zeros of a seed.
"""

import numpy as np

#                     what is drawn                            seeded by
ORDER = ()  #         the order of an epoch's pictures         seed, epoch
HOST = ()  #          the notebook's transforms of a picture   seed, epoch, index
STEP = ()  #          dropout and stochastic depth of a step   seed, step, process
AUGMENTATION = (1,)  # the fast pipeline's parameters          seed, epoch
MIXING = (1,)  #      how a batch is mixed                     seed, step, process, batch of the step
RANDAUGMENT = (2,)  # RandAugment's operations                 seed, epoch
ERASING = (3,)  #     the boxes of random erasing              seed, epoch


def generator(stream: tuple[int, ...], *values: int) -> np.random.Generator:
    """Return the generator of a stream for these values."""
    return np.random.default_rng([*values, *stream])


def step_seed(seed: int, step: int, process: int) -> int:
    """Return the seed of Paddle's generators for a training step."""
    return int(np.random.SeedSequence([seed, step, process, *STEP]).generate_state(1)[0])


def picture_seeds(seed: int, epoch: int, index: int) -> tuple[int, int]:
    """Return the seeds of Python's and numpy's global generators for one picture of the host pipeline."""
    for_python, for_numpy = np.random.SeedSequence([seed, epoch, index, *HOST]).generate_state(2)
    return int(for_python), int(for_numpy)
