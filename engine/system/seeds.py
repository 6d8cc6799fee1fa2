"""Seeding of the global random generators. Pictures do not depend on these: see `data.streams`."""

import random

import numpy as np
import paddle

from data import streams


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and Paddle's generators, as the notebook does."""
    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make the random draws of a training step (dropout, stochastic depth) a function of seed, step and rank.

    This replaces saving the states of Paddle's generators, which Paddle 2.6 cannot do. Python's and numpy's generators
    are not seeded: they belong to the threads that augment pictures.
    """
    paddle.seed(streams.step_seed(seed, step, rank))
