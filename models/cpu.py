"""Faster CPU versions of operations whose kernels in Paddle are slow on a CPU; results are equal up to rounding.

Where there is a C compiler, they run the kernels of `native`. Elsewhere they are made of Paddle's operators: the slow
parts are broadcasting a row over many rows and, in the backward pass, summing many rows into one, both of which Paddle
does element by element on one thread, and a matrix product with ones at memory speed. On a GPU, in a static graph, in a
precision other than float32 and inside `plain()`, Paddle's own operations run.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.autograd import PyLayer

from common.division import divided

from . import native

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


def layer_norm_2d(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Normalize x [B, C, H, W] over its channels, then scale by weight and shift by bias, both [1, C, 1, 1]."""
    if applies(x) and native.available():
        return _LayerNorm2D.apply(x, weight, bias, epsilon)
    x = x.transpose([0, 2, 3, 1])  # B, H, W, C
    x = layer_norm(x, weight.flatten(), bias.flatten(), epsilon)
    return x.transpose([0, 3, 1, 2])  # B, C, H, W


def gelu(x: Tensor) -> Tensor:
    """Return x Phi(x), with the normal distribution's Phi: the exact GELU."""
    return _Gelu.apply(x) if applies(x) and native.available() else F.gelu(x)


def gelu_backward_(x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Return GELU(x) again, and the gradient of x for that of GELU(x), dy, whose memory may be used.

    Raises:
        RuntimeError: second derivatives are wanted.
    """
    native.refuse_second_derivative(x, dy)
    if applies(x) and native.available():
        return native.gelu_backward_(x, dy)
    with paddle.enable_grad():
        x = x.detach()
        x.stop_gradient = False
        y = F.gelu(x)
    y.backward(dy)
    return y.detach(), x.grad


def attends(qkv: Tensor, heads: int) -> bool:
    """Return whether `attend` can compute with qkv [S, N, 3 C]."""
    return applies(qkv) and native.attends(qkv.shape[-1] // 3 // heads)


def attend(qkv: Tensor, bias: Tensor | None, mask: Tensor | None, heads: int, scale: float, queries: int) -> Tensor:
    """Return softmax(scale q k^T + bias) v in each of S sequences of N positions: [S, queries, C].

    The attention weights are never kept: the backward pass computes them again, from q and k, for few queries at a
    time (as does Dao et al., "FlashAttention", 2022).

    Args:
        qkv: q, k and v of each position, head by head: [S, N, 3 C].
        bias: of each pair (query, key), head by head: [heads * N * N].
        mask: bool [windows, N, N], False where a pair must not attend; that of sequence s is number s modulo windows.
        queries: only this number of first positions attend.
    """
    return _Attend.apply(qkv, bias, mask, heads, scale, queries)


def add_row(x: Tensor, row: Tensor) -> Tensor:
    """x [rows, n] + row [n] -> [rows, n]."""
    return _AddRow.apply(x, row) if applies(x) else x + row


def conv2d(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve x [B, C, H, W] with weight [D, C, k, k], and add bias [D] -> [B, D, H', W']."""
    if not applies(x):
        return F.conv2d(x, weight, bias, stride, padding)
    return _add_channels(F.conv2d(x, weight, None, stride, padding), bias)


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve each channel by itself: x [B, C, H, W], weight [D, 1, 3, 3], bias [D] or None -> [B, D, H', W'].

    D is a multiple of C, the padding is 1, and the stride 1 or 2. Without a compiler, a CPU computes a matrix product
    with the 9 neighbors of each pixel.
    """
    (B, C), D = x.shape[:2], weight.shape[0]
    if not applies(x):
        return F.conv2d(x, weight, bias, stride, padding=1, groups=C)
    if native.available():
        return _DepthwiseConv2D.apply(x, weight, bias, stride)
    H, W = (1 + (side - 1) // stride for side in x.shape[2:])
    neighbours = F.unfold(x, 3, stride, 1).reshape([B, C, 9, H * W])
    y = paddle.matmul(weight.reshape([1, C, D // C, 9]), neighbours).reshape([B, D, H, W])
    return y if bias is None else _add_channels(y, bias)


def _add_channels(x: Tensor, bias: Tensor) -> Tensor:
    """x [B, D, H, W] + bias [D] -> [B, D, H, W], where the bias becomes one long row that each picture gets."""
    _, D, H, W = x.shape
    row = paddle.matmul(bias.unsqueeze(1), paddle.ones([1, H * W])).flatten()
    return add_row(x.reshape([-1, D * H * W]), row).reshape([-1, D, H, W])


def applies(x: Tensor) -> bool:
    """Return whether operations on x go the way of a CPU."""
    return _enabled and paddle.in_dynamic_mode() and x.place.is_cpu_place() and x.dtype == paddle.float32


def note_wanted(ctx: Any, *inputs: Tensor) -> None:
    """Note which inputs of a PyLayer need a gradient."""
    ctx.wanted = [not tensor.stop_gradient for tensor in inputs]


def wanted(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients, None for each frozen tensor: Paddle refuses a gradient there."""
    return tuple(gradient if wanted else None for gradient, wanted in zip(gradients, ctx.wanted, strict=True))


def sum_rows(x: Tensor) -> Tensor:
    """[rows, n] -> [n]"""
    if not applies(x):
        return x.sum(axis=0)
    return paddle.matmul(paddle.ones([1, x.shape[0]]), x).reshape([-1])


class _Linear(PyLayer):
    """If the layer widens, the bias becomes one more row of the weight, and x gets a column of ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        note_wanted(ctx, x, weight, bias)
        ctx.shape, (n, m) = x.shape, weight.shape
        x = x.reshape([-1, n])
        if native.available():
            y = native.add_row_(paddle.matmul(x, weight), bias)
        elif m > n:
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
            return wanted(ctx, dx, dweight[:-1], dweight[-1])
        return wanted(ctx, dx, dweight, sum_rows(dy))


class _LayerNorm(PyLayer):
    """With x^ the normalized x and s its standard deviation: dx = (w dy - mean(w dy) - x^ mean(w dy x^)) / s."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        note_wanted(ctx, x, weight, bias)
        ctx.epsilon = epsilon
        ctx.save_for_backward(x, weight)
        if native.available():
            return native.layer_norm(x, weight, bias, epsilon)
        return F.layer_norm(x, x.shape[-1], weight, bias, epsilon)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        if native.available():
            return wanted(ctx, *native.layer_norm_backward(x, weight, dy, ctx.epsilon))
        C, shape = x.shape[-1], x.shape
        x, dy = x.reshape([-1, C]), dy.reshape([-1, C])
        each = paddle.full([C, 1], 1 / C)
        normalised = F.layer_norm(x, C, epsilon=ctx.epsilon)
        variance = paddle.matmul(paddle.square(x - paddle.matmul(x, each)), each)
        dy_x = dy * normalised
        dweight, dbias = sum_rows(dy_x), sum_rows(dy)
        w = divided(weight.unsqueeze(1), C)
        mean, slope = paddle.matmul(dy, w), paddle.matmul(dy_x, w)
        dx = (dy * weight).subtract_(normalised.multiply_(slope)).subtract_(mean)
        dx = dx.multiply_(paddle.rsqrt(variance + ctx.epsilon)).reshape(shape)
        return wanted(ctx, dx, dweight, dbias)


class _LayerNorm2D(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        note_wanted(ctx, x, weight, bias)
        ctx.epsilon = epsilon
        ctx.save_for_backward(x, weight)
        return native.layer_norm_2d(x, weight, bias, epsilon)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        return wanted(ctx, *native.layer_norm_2d_backward(x, weight, dy, ctx.epsilon))


class _DepthwiseConv2D(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        note_wanted(ctx, *((x, weight) if bias is None else (x, weight, bias)))
        ctx.stride = stride
        ctx.save_for_backward(x, weight)
        return native.depthwise_conv2d(x, weight, bias, stride)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        gradients = native.depthwise_conv2d_backward(x, weight, dy, ctx.stride)
        return wanted(ctx, *gradients[: len(ctx.wanted)])


class _Gelu(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return native.gelu(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensor()
        return native.gelu_backward_(x, dy.clone())[1]  # others may read dy


class _Attend(PyLayer):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, bias: Tensor | None, mask: Tensor | None, heads: int, scale: float, queries: int
    ) -> Tensor:
        tensors = [qkv] if bias is None else [qkv, bias]
        note_wanted(ctx, *tensors)
        ctx.save_for_backward(*tensors)
        ctx.settings = mask, heads, scale
        return native.attend(qkv, bias, mask, heads, scale, queries)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias = (*ctx.saved_tensor(), None)[:2]
        mask, heads, scale = ctx.settings
        gradients = native.attend_backward(qkv, bias, mask, heads, scale, dy)
        return wanted(ctx, *gradients[: len(ctx.wanted)])


class _AddRow(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, row: Tensor) -> Tensor:
        note_wanted(ctx, x, row)
        return x + row

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return wanted(ctx, dy, sum_rows(dy))
