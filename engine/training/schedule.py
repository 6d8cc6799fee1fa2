"""The learning rate of each step."""

import math

from paddle.optimizer.lr import CosineAnnealingDecay, LambdaDecay


def build_schedule(learning_rate, total_steps, warmup_steps=0):
    """Return a schedule to step after each optimizer step: a linear rise, then one cosine to 0 at `total_steps`.

    Without a warm-up it is the recipe's, whose rates Paddle computes one from the other and so rounds otherwise than
    the formula. With one, each rate is a function of its step alone. (Paddle's own `LinearWarmup` would do, but warns
    at each resume about its own state.)

    Args:
        warmup_steps: fewer than `total_steps`; their rates begin above 0 and end below `learning_rate`, which the step
            after them has (Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2).
    """
    if not warmup_steps:
        return CosineAnnealingDecay(learning_rate, T_max=total_steps)

    def factor(step):
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2

    return LambdaDecay(learning_rate, factor)
