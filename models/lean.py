"""Operations that keep less for the backward pass than Paddle's do, on every device, and compute it again instead."""

from typing import Any

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer

from . import cpu


def linear_of_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU(x) weight + bias: x [..., in], weight [in, out], bias [out] -> [..., out].

    Only x is kept; the backward pass computes GELU(x) again.
    """
    if paddle.in_dynamic_mode() and paddle.is_grad_enabled():
        return _LinearOfGelu.apply(x, weight, bias)
    return cpu.linear(cpu.gelu(x), weight, bias)


class _LinearOfGelu(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        cpu.note_wanted(ctx, x, weight, bias)
        ctx.save_for_backward(x, weight)
        return cpu.linear(cpu.gelu(x), weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), rows = ctx.saved_tensor(), dy.reshape([-1, dy.shape[-1]])
        y, dx = cpu.gelu_backward_(x, paddle.matmul(dy, weight, transpose_y=True))
        dweight = paddle.matmul(y.reshape([-1, y.shape[-1]]), rows, transpose_x=True)
        return cpu.wanted(ctx, dx, dweight, cpu.sum_rows(rows))
