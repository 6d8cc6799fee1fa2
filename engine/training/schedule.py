"""The learning rate of each step."""

import math

from paddle.optimizer.lr import CosineAnnealingDecay, LambdaDecay, LRScheduler


def build_schedule(learning_rate: float, total_steps: int, warmup_steps: int = 0) -> LRScheduler:
    """Return a schedule to advance after each optimizer step: a linear warm-up, then one cosine to 0 at `total_steps`.

    Without a warm-up it is the notebook's schedule. Paddle computes each of its rates from the one before, so their
    rounding differs from the formula's. With a warm-up each rate is a function of its step alone. Paddle's own
    `LinearWarmup` warns about its own state at every resume.

    Args:
        warmup_steps: fewer than `total_steps`. Their rates begin above 0 and end below `learning_rate`, which the next
            step has (Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2).
    """
    if not warmup_steps:
        return CosineAnnealingDecay(learning_rate, T_max=total_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2

    return LambdaDecay(learning_rate, factor)
