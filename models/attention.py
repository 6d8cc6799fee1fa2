"""The attention module that regional and local self-attention share, and the lookup of its position biases."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from . import cpu
from .layers import Linear, truncated_normal
from .precision import as_type

# A table, because `paddle.finfo` of a tensor's dtype fails inside `to_static` on Paddle 2.6.
LOWEST = {
    dtype: float(paddle.finfo(dtype).min) for dtype in (paddle.float16, paddle.bfloat16, paddle.float32, paddle.float64)
}


class Attention(nn.Layer):
    """Multi-head self-attention, which can add a relative position bias and apply a padding mask.

    Args:
        dim: channels C; must be a multiple of num_heads (ValueError).
        ws: the window size; the bias table `rel_pos` is [heads, (2 ws - 1)**2].
        qk_scale: the factor on q k^T; default (C / heads) ** -0.5.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ws: int,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
    ):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"embed_dim {dim} is not divisible by num_heads {num_heads}: give heads that divide it")
        self.num_heads = num_heads
        self.scale = qk_scale or (dim // num_heads) ** -0.5
        self.rel_pos = self.create_parameter(
            [num_heads, (2 * ws - 1) ** 2], default_initializer=truncated_normal(std=0.02)
        )
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)
        self.attn_drop = nn.Dropout(attn_drop_rate)
        self.proj_drop = nn.Dropout(drop_rate)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, queries: int | None = None
    ) -> Tensor:
        """Attend within each sequence: x [S, N, C] -> [S, N, C].

        bias: of each pair (query, key), head by head, as `position_biases` returns it: [heads * N * N].
        mask: bool [windows, N, N], False where a pair must not attend; S is B * windows then.
        queries: only this number of first positions attend: -> [S, queries, C].
        """
        qkv, Q = self.qkv(x), queries or x.shape[1]
        if cpu.attends(qkv, self.num_heads) and not (self.training and self.attn_drop.p):
            y = cpu.attend(qkv, bias, mask, self.num_heads, self.scale, Q)
        else:
            y = self._attend(qkv, bias, mask, Q)
        return self.proj_drop(self.proj(y))

    def _attend(self, qkv: Tensor, bias: Tensor | None, mask: Tensor | None, Q: int) -> Tensor:
        """softmax(scale q k^T + bias) v: [S, N, 3 C] -> [S, Q, C]"""
        (N, C), heads = (qkv.shape[1], qkv.shape[2] // 3), self.num_heads
        qkv = qkv.reshape([-1, N, 3 * heads, C // heads]).transpose([0, 2, 1, 3])  # S, 3 heads, N, C/heads
        q, k, v = qkv.split(3, axis=1)
        if Q < N:
            q = q[:, :, :Q]
        logits = paddle.matmul(q * self.scale, k, transpose_y=True)  # S, heads, Q, N
        if bias is not None:
            row = bias if Q == N else bias.reshape([heads, N, N])[:, :Q].flatten()
            logits = cpu.add_row(logits.reshape([-1, heads * Q * N]), row).reshape([-1, heads, Q, N])
        if mask is not None:
            logits = self._masked(logits, mask[:, :Q])
        weights = self.attn_drop(F.softmax(logits, axis=-1))
        return paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([-1, Q, C])

    def _masked(self, logits: Tensor, mask: Tensor) -> Tensor:
        # The lowest finite value instead of -inf keeps a completely masked row finite.
        windows, (heads, Q, N) = mask.shape[0], logits.shape[1:]
        lowest = paddle.full([], LOWEST[logits.dtype], dtype=logits.dtype)
        split = logits.reshape([-1, windows, heads, Q, N])
        return paddle.where(mask.unsqueeze(1), split, lowest).reshape([-1, heads, Q, N])


def position_biases(attentions: Sequence[Attention], index: Tensor, dtype: paddle.dtype) -> list[Tensor]:
    """Look the relative position biases of several modules up at once, in float32.

    Args:
        index: as `windows.relative_position_index` returns it, for N positions of a window: [N * N].
        dtype: that of the result.

    Returns:
        for each module, the bias of each pair (query, key), head by head: [heads * N * N].
    """
    tables = paddle.concat([attention.rel_pos for attention in attentions])  # heads of all, (2 ws - 1)**2
    no_bias = paddle.zeros([tables.shape[0], 1], dtype=tables.dtype)  # the regional token's column
    tables = paddle.concat([tables, no_bias], axis=1)
    # Not index_select, whose gradient runs on a GPU in one thread if it has to be deterministic, on Paddle 2.6.
    biases = F.embedding(index, tables.transpose([1, 0]))  # N * N, heads of all
    row = as_type(biases, dtype).transpose([1, 0]).flatten()
    return row.split([attention.num_heads * index.shape[0] for attention in attentions])
