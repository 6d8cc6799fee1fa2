"""Faster CPU versions of operations whose kernels in Paddle are slow on a CPU; results are equal up to rounding.

The slow parts are broadcasting a row over many rows and, in the backward pass, summing many rows into one: Paddle does
both element by element on one thread. A matrix product with ones does both at memory speed. On a GPU, in a static
graph, in a precision other than float32 and inside `plain()`, Paddle's own operations run.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.autograd import PyLayer

from common.division import divided

_enabled = True


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Within this context, use Paddle's own operations only: the reference to compare with."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., in], weight [in, out], bias [out] or None -> x weight + bias [..., out]."""
    if bias is None or not applies(x):
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Normalize x [..., C] over its last axis, then scale by weight [C] and shift by bias [C] -> [..., C]."""
    if not applies(x):
        return F.layer_norm(x, x.shape[-1], weight, bias, epsilon)
    return _LayerNorm.apply(x, weight, bias, epsilon)


def add_row(x: Tensor, row: Tensor) -> Tensor:
    """x [rows, n] + row [n] -> [rows, n]."""
    return _AddRow.apply(x, row) if applies(x) else x + row


def conv2d(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve x [B, C, H, W] with weight [D, C, k, k], and add bias [D] -> [B, D, H', W']."""
    if not applies(x):
        return F.conv2d(x, weight, bias, stride, padding)
    return _add_channels(F.conv2d(x, weight, None, stride, padding), bias)


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Convolve each channel by itself: x [B, C, H, W], weight [D, 1, k, k], bias [D] or None -> [B, D, H', W'].

    D is a multiple of C. On a CPU this is a matrix product with the k * k neighbors of each pixel.
    """
    (B, C), (D, _, k, _) = x.shape[:2], weight.shape
    if not applies(x):
        return F.conv2d(x, weight, bias, stride, padding, groups=C)
    H, W = (1 + (side + 2 * padding - k) // stride for side in x.shape[2:])
    neighbours = F.unfold(x, k, stride, padding).reshape([B, C, k * k, H * W])
    y = paddle.matmul(weight.reshape([1, C, D // C, k * k]), neighbours).reshape([B, D, H, W])
    return y if bias is None else _add_channels(y, bias)


def _add_channels(x: Tensor, bias: Tensor) -> Tensor:
    """x [B, D, H, W] + bias [D] -> [B, D, H, W], where the bias becomes one long row that each picture gets."""
    _, D, H, W = x.shape
    row = paddle.matmul(bias.unsqueeze(1), paddle.ones([1, H * W])).flatten()
    return add_row(x.reshape([-1, D * H * W]), row).reshape([-1, D, H, W])


def applies(x: Tensor) -> bool:
    """Return whether operations on x go the way of a CPU."""
    return _enabled and paddle.in_dynamic_mode() and x.place.is_cpu_place() and x.dtype == paddle.float32


def _note_wanted(ctx: Any, *inputs: Tensor) -> None:
    ctx.wanted = [not tensor.stop_gradient for tensor in inputs]


def _wanted(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients, None for each frozen tensor: Paddle refuses a gradient there."""
    return tuple(gradient if wanted else None for gradient, wanted in zip(gradients, ctx.wanted, strict=True))


def _sum_rows(x: Tensor) -> Tensor:
    """[rows, n] -> [n]"""
    return paddle.matmul(paddle.ones([1, x.shape[0]]), x).reshape([-1])


class _Linear(PyLayer):
    """If the layer widens, the bias becomes one more row of the weight, and x gets a column of ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        _note_wanted(ctx, x, weight, bias)
        ctx.shape, (n, m) = x.shape, weight.shape
        x = x.reshape([-1, n])
        if m > n:
            x = paddle.concat([x, paddle.ones([x.shape[0], 1])], axis=1)
            y = paddle.matmul(x, paddle.concat([weight, bias.unsqueeze(0)]))
        else:
            y = paddle.matmul(x, weight).add_(bias)
        ctx.save_for_backward(x, weight)
        return y.reshape([*ctx.shape[:-1], m])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), dy = ctx.saved_tensor(), dy.reshape([-1, dy.shape[-1]])
        dx = paddle.matmul(dy, weight, transpose_y=True).reshape(ctx.shape)
        dweight = paddle.matmul(x, dy, transpose_x=True)
        if len(dweight) > len(weight):
            return _wanted(ctx, dx, dweight[:-1], dweight[-1])
        return _wanted(ctx, dx, dweight, _sum_rows(dy))


class _LayerNorm(PyLayer):
    """With x^ the normalized x and s its standard deviation: dx = (w dy - mean(w dy) - x^ mean(w dy x^)) / s."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        _note_wanted(ctx, x, weight, bias)
        ctx.epsilon = epsilon
        ctx.save_for_backward(x, weight)
        return F.layer_norm(x, x.shape[-1], weight, bias, epsilon)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        C, shape = x.shape[-1], x.shape
        x, dy = x.reshape([-1, C]), dy.reshape([-1, C])
        each = paddle.full([C, 1], 1 / C)
        normalised = F.layer_norm(x, C, epsilon=ctx.epsilon)
        variance = paddle.matmul(paddle.square(x - paddle.matmul(x, each)), each)
        dy_x = dy * normalised
        dweight, dbias = _sum_rows(dy_x), _sum_rows(dy)
        w = divided(weight.unsqueeze(1), C)
        mean, slope = paddle.matmul(dy, w), paddle.matmul(dy_x, w)
        dx = (dy * weight).subtract_(normalised.multiply_(slope)).subtract_(mean)
        dx = dx.multiply_(paddle.rsqrt(variance + ctx.epsilon)).reshape(shape)
        return _wanted(ctx, dx, dweight, dbias)


class _AddRow(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, row: Tensor) -> Tensor:
        _note_wanted(ctx, x, row)
        return x + row

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return _wanted(ctx, dy, _sum_rows(dy))
