"""Division of tensors by numbers, to the same bits on every Paddle."""

import paddle
from paddle import Tensor


def divided(x: Tensor, number: float) -> Tensor:
    """Return x / number, of x's shape and type, each quotient rounded once.

    Paddle 3.3 divides so too; older ones multiply by the number's inverse, which is rounded before: 41 / 41 is not 1.
    """
    return x / paddle.full([], number, dtype=x.dtype)
