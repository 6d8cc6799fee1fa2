"""Conversion between maps and window sequences: pure functions of tensors and shapes.

A picture's regional tokens form a grid of Hr x Wr; the local tokens of one regional token form a window of ws x ws.
"""

from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

PADDING_MASKS = ("reference", "exact")
Size = Sequence[int]  # (Hr, Wr) or (H, W)


def is_padded(grid: Size, size: Size, ws: int) -> bool:
    """Return whether a local map of `size` (H, W) needs padding to fill the windows of a `grid` (Hr, Wr)."""
    return size[0] != grid[0] * ws or size[1] != grid[1] * ws


def partition(local: Tensor, grid: Size, ws: int) -> Tensor:
    """Cut local maps into the windows of a grid, after zero-padding at the bottom and right if necessary.

    [B, C, H, W] -> [B*Hr*Wr, ws*ws, C], the tokens of a window in row-major order
    """
    (Hr, Wr), (C, H, W) = grid, local.shape[1:]
    if is_padded(grid, (H, W), ws):
        local = F.pad(local, [0, Wr * ws - W, 0, Hr * ws - H])
    windows = local.reshape([-1, C, Hr, ws, Wr, ws]).transpose([0, 2, 4, 3, 5, 1])  # B, Hr, Wr, ws, ws, C
    return windows.reshape([-1, ws * ws, C])


def merge(windows: Tensor, grid: Size, size: Size, ws: int) -> Tensor:
    """Put windows together to maps of `size` (H, W) without padding: the inverse of `partition`.

    [B*Hr*Wr, ws*ws, C] -> [B, C, H, W]
    """
    (Hr, Wr), (H, W), C = grid, size, windows.shape[-1]
    local = windows.reshape([-1, Hr, Wr, ws, ws, C]).transpose([0, 5, 1, 3, 2, 4])  # B, C, Hr, ws, Wr, ws
    local = local.reshape([-1, C, Hr * ws, Wr * ws])
    return local[:, :, :H, :W] if is_padded(grid, size, ws) else local


def padding_mask(grid: Size, size: Size, ws: int, kind: str) -> Tensor:
    """Return which pairs of positions in each window's sequence may attend to each other.

    -> bool [Hr*Wr, 1 + ws*ws, 1 + ws*ws]. Position 0 is the regional token, which is never padding.
    `exact`: both positions lie in real rows, and both in real columns. `reference`, as in the official code: in the
    bottom-right window one of the two conditions suffices, so that padding takes part there.
    """
    (Hr, Wr), (H, W) = grid, size
    real_row = (paddle.arange(Hr * ws) < H).reshape([Hr, 1, ws, 1]).expand([Hr, Wr, ws, ws])
    real_column = (paddle.arange(Wr * ws) < W).reshape([1, Wr, 1, ws]).expand([Hr, Wr, ws, ws])
    rows, columns = _pairs(real_row, ws), _pairs(real_column, ws)
    both = paddle.logical_and(rows, columns)
    if kind == "exact":
        return both
    corner = paddle.logical_or(rows[-1:], columns[-1:])
    return paddle.concat([both[:-1], corner]) if Hr * Wr > 1 else corner


def _pairs(real: Tensor, ws: int) -> Tensor:
    """bool [Hr, Wr, ws, ws] -> bool [Hr*Wr, 1 + ws*ws, 1 + ws*ws]: pairs of real positions, regional token first."""
    tokens = real.reshape([-1, ws * ws])
    tokens = paddle.concat([paddle.ones([tokens.shape[0], 1], dtype="bool"), tokens], axis=1)
    return paddle.logical_and(tokens.unsqueeze(2), tokens.unsqueeze(1))


def relative_position_index(ws: int) -> np.ndarray:
    """Return the column of the `rel_pos` table for each pair of positions in a window's sequence.

    -> int64 numpy [(1 + ws*ws)**2]. With R = 2 ws - 1, a key at offset (dy, dx) from a local query uses column
    ((dy + ws//2) mod R) * R + ((dx + ws//2) mod R): the official order, which wraps around. Pairs with the regional
    token have no relative position; they get R * R, one past the table.
    """
    R, place = 2 * ws - 1, table_order(ws)
    y, x = np.divmod(np.arange(ws * ws), ws)
    dy, dx = y[None, :] - y[:, None], x[None, :] - x[:, None]
    index = np.full([1 + ws * ws, 1 + ws * ws], R * R, dtype="int64")
    index[1:, 1:] = place[dy + ws - 1] * R + place[dx + ws - 1]
    return index.reshape(-1)


def table_order(ws: int) -> np.ndarray:
    """Return the positions of the offsets -(ws - 1) .. ws - 1 along each side of the `rel_pos` table.

    -> int numpy [2 ws - 1]
    """
    return (np.arange(1 - ws, ws) + ws // 2) % (2 * ws - 1)
