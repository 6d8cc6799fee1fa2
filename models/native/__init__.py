"""The kernels of `kernels.c` and `depthwise.c` as functions of Paddle tensors: float32, on a CPU.

They are optional: where `available()` is false, `models.cpu` computes the same with Paddle's operators.
"""

from ctypes import c_float, c_long, c_void_p
from typing import Any

import paddle
from paddle import Tensor

from .build import PADDLES, kernels

__all__ = ["PADDLES", "kernels"]


def available() -> bool:
    """Return whether the kernels can be used; the first call builds them."""
    return kernels().library is not None


def attends(head_dim: int) -> bool:
    """Return whether `attend` can be used for heads of that many channels: it needs whole vectors of the CPU."""
    return available() and head_dim % _kernel("lanes_of_this_cpu")() == 0


def gelu(x: Tensor) -> Tensor:
    """Return x Phi(x), with the normal distribution's Phi."""
    y = paddle.empty_like(x)
    _call("gelu", x, y, x.size)
    return y


def gelu_backward_(x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Return GELU(x) again, and the gradient of x, which takes the place of dy."""
    y, dy = paddle.empty_like(x), dy.contiguous()
    _call("gelu_backward", x, dy, y, dy, x.size)
    return y, dy


def add_row_(x: Tensor, row: Tensor) -> Tensor:
    """Add row [n] to each of x [rows, n] in place; x must be contiguous."""
    _call("add_row", x, row, *x.shape)
    return x


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Normalize x [..., C] over its last axis, then scale by weight [C] and shift by bias [C] -> [..., C]."""
    y, C = paddle.empty_like(x), x.shape[-1]
    _call("layer_norm", x, weight, bias, y, x.size // C, C, epsilon)
    return y


def layer_norm_backward(x: Tensor, weight: Tensor, dy: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x [..., C], weight [C] and bias [C]."""
    dx, dweight, dbias = (paddle.empty_like(each) for each in (x, weight, weight))
    C = x.shape[-1]
    _call("layer_norm_backward", x, weight, dy, dx, dweight, dbias, x.size // C, C, epsilon)
    return dx, dweight, dbias


def layer_norm_2d(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Normalize maps x [B, C, H, W] over their channels, with weight and bias of C elements -> [B, C, H, W]."""
    y, (B, C, H, W) = paddle.empty_like(x), x.shape
    _call("layer_norm_2d", x, weight, bias, y, B, C, H * W, epsilon)
    return y


def layer_norm_2d_backward(x: Tensor, weight: Tensor, dy: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x [B, C, H, W], weight and bias."""
    dx, dweight, dbias = (paddle.empty_like(each) for each in (x, weight, weight))
    B, C, H, W = x.shape
    _call("layer_norm_2d_backward", x, weight, dy, dx, dweight, dbias, B, C, H * W, epsilon)
    return dx, dweight, dbias


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve each channel by itself, see `cpu.depthwise_conv2d`; stride is 1 or 2."""
    (B, C, H, W), D = x.shape, weight.shape[0]
    y = paddle.empty([B, D, (H - 1) // stride + 1, (W - 1) // stride + 1])
    _call("depthwise", x, weight, bias, y, B, C, D, H, W, stride)
    return y


def depthwise_conv2d_backward(x: Tensor, weight: Tensor, dy: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight and bias."""
    (B, C, H, W), D = x.shape, weight.shape[0]
    dx, dweight, dbias = paddle.empty_like(x), paddle.empty_like(weight), paddle.empty([D])
    _call("depthwise_backward", x, weight, dy, dx, dweight, dbias, B, C, D, H, W, stride)
    return dx, dweight, dbias


def attend(qkv: Tensor, bias: Tensor | None, mask: Tensor | None, heads: int, scale: float, queries: int) -> Tensor:
    """Attend: qkv [S, N, 3 C], bias [heads * N * N], mask [windows, N, N] -> [S, queries, C]; see `cpu.attend`."""
    S, _, C3 = qkv.shape
    y = paddle.empty([S, queries, C3 // 3])
    _call("attend", qkv, bias, mask, y, *_sizes(qkv, mask, heads, queries), scale)
    return y


def attend_backward(
    qkv: Tensor, bias: Tensor | None, mask: Tensor | None, heads: int, scale: float, dy: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of qkv and bias."""
    dqkv, dbias = paddle.empty_like(qkv), None if bias is None else paddle.empty_like(bias)
    _call("attend_backward", qkv, bias, mask, dy, dqkv, dbias, *_sizes(qkv, mask, heads, dy.shape[1]), scale)
    return dqkv, dbias


def refuse_second_derivative(*tensors: Tensor) -> None:
    """Refuse to compute what autograd would take for constant.

    Raises:
        RuntimeError: it would record a computation with these tensors, as for `paddle.grad(..., create_graph=True)`.
    """
    if paddle.is_grad_enabled() and not all(tensor.stop_gradient for tensor in tensors):
        raise RuntimeError("this operation has no second derivative: differentiate without create_graph=True")


def _sizes(qkv: Tensor, mask: Tensor | None, heads: int, queries: int) -> tuple[int, ...]:
    """Return S, windows, N, Q, heads and D as kernels.c calls them."""
    S, N, C3 = qkv.shape
    return S, 1 if mask is None else mask.shape[0], N, queries, heads, C3 // 3 // heads


def _call(kernel: str, *arguments: Tensor | int | float | None) -> None:
    """Call a kernel, with pointers for tensors.

    Raises:
        MemoryError: it found no memory to work in.
        RuntimeError: see `refuse_second_derivative`.
        TypeError: a tensor is neither float32 nor a mask.
    """
    tensors = [each for each in arguments if isinstance(each, Tensor)]
    refuse_second_derivative(*tensors)
    if others := [str(each.dtype) for each in tensors if each.dtype not in (paddle.float32, paddle.bool)]:
        raise TypeError(f"{kernel} needs float32, not {', '.join(others)}: convert the model or its input")
    arguments = tuple(each.contiguous() if isinstance(each, Tensor) else each for each in arguments)
    if not _kernel(kernel)(*map(_in_c, arguments)):
        raise MemoryError(f"no memory left for {kernel}")


def _kernel(name: str) -> Any:
    return getattr(kernels().library, name)


def _in_c(argument: Tensor | int | float | None) -> c_void_p | c_long | c_float:
    if argument is None:
        return c_void_p()
    if isinstance(argument, Tensor):
        return c_void_p(argument.data_ptr())
    return c_long(argument) if isinstance(argument, int) else c_float(argument)
