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
    """Make what a training step draws (dropout, stochastic depth) a function of seed, step and process.

    Only Paddle's generators are seeded, because Paddle 2.6 cannot save their state. Python's and numpy's belong to the
    threads that augment pictures.
    """
    paddle.seed(streams.step_seed(seed, step, rank))
