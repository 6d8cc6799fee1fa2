"""Attention rollout: the share that each pixel has in each regional token.

Abnar, Zuidema: "Quantifying Attention Flow in Transformers", ACL 2020, arXiv 2005.00928. The weights A of each
attention, averaged over its heads, become (A + I) / 2 because of the residual connection, and are multiplied over all
layers. Here the shares of each token are followed backwards, so that no matrix over all tokens is ever built.

Other layers are approximated: FFN, norms and PEG leave a token in place; a projection 'sc' is the mean of the tokens
under its 3 x 3 kernel, weighted by 1, 2, 1 along each side; a token of the first maps is the mean of its patch. Padding
of a local map is not part of the picture, so a share that falls on it is dropped.
"""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor

from .attention_maps import Size, StageAttention
from .regionvit import RegionViT
from .windows import merge, partition


def rollout(model: RegionViT, maps: Sequence[StageAttention], picture_size: Size, stage: int = -1) -> np.ndarray:
    """Return the share of each pixel in each regional token at the end of a stage.

    Args:
        model: the RegionViT that the maps come from; its patch sizes and its PEG matter.
        maps: the result of `attention_maps` for B pictures.
        picture_size: (height, width) of these pictures.
        stage: number of the stage; the default is the last one.

    Returns:
        float32 numpy [B, R, height, width]. The shares in each of the R regional tokens sum to 1, or to less where real
        tokens attend to padding, as they do in the bottom-right window under the reference padding mask.
    """
    stage = range(len(maps))[stage]
    (B, R), grid, size = maps[stage].local.shape[1:3], maps[stage].grid, maps[stage].size
    regional = paddle.eye(R, dtype="float64").reshape([1, R, *grid]).tile([B, 1, 1, 1])
    local = paddle.zeros([B, R, *size], dtype="float64")
    for i in reversed(range(stage + 1)):
        regional, local = _before_encoders(regional, local, maps[i], peg=model.layers[i].peg is not None)
        if i > 0:
            regional = _before_projection(regional, maps[i - 1].grid)
            local = _before_projection(local, maps[i - 1].size)
    k = model.cls_token.patch_size
    pixels = _pixels(regional, k, picture_size, centred=True) + _pixels(local, k // maps[0].ws, picture_size)
    return pixels.astype("float32").numpy()


def _before_encoders(regional: Tensor, local: Tensor, attention: StageAttention, peg: bool) -> tuple[Tensor, Tensor]:
    """Follow shares through a stage's encoders: regional [B, M, Hr, Wr], local [B, M, H, W] -> the same shapes."""
    grid, size, ws = attention.grid, attention.size, attention.ws
    B, M = regional.shape[:2]
    regional, local = regional.flatten(2).transpose([0, 2, 1]), partition(local, grid, ws)  # B, R, M; B*R, ws*ws, M
    for i in reversed(range(len(attention.regional))):
        if peg and i == 0:
            local = partition(merge(local, grid, size, ws), grid, ws)  # PEG pads again
        tokens = paddle.concat([regional.reshape([-1, 1, M]), local], axis=1)  # B*R, 1 + ws*ws, M
        tokens = _before_attention(tokens, attention.local[i].mean(axis=2, dtype="float64"))  # LSA
        regional, local = tokens[:, 0].reshape([B, -1, M]), tokens[:, 1:]
        regional = _before_attention(regional, attention.regional[i].mean(axis=1, dtype="float64"))  # RSA
    return regional.transpose([0, 2, 1]).reshape([B, M, *grid]), merge(local, grid, size, ws)


def _before_attention(shares: Tensor, weights: np.ndarray) -> Tensor:
    """Follow shares [S, N, M] through (A + I) / 2, the weights A being numpy [..., N, N] of S sequences -> [S, N, M]"""
    A = paddle.to_tensor(weights.reshape(-1, *weights.shape[-2:]))
    return (shares + paddle.matmul(A, shares, transpose_x=True)) / 2


def _before_projection(shares: Tensor, size: Size) -> Tensor:
    """Follow shares through a projection whose input had `size`: [B, M, H, W] -> [B, M, *size]; it halves or keeps."""
    rows, columns = (_halves(out, n) if out < n else np.eye(n) for out, n in zip(shares.shape[2:], size, strict=True))
    return _spread(shares, rows, columns)


def _pixels(shares: Tensor, patch: int, picture_size: Size, centred: bool = False) -> Tensor:
    """Spread shares of tokens over the pixels of their patches: [B, M, H, W] -> [B, M, height, width].

    centred: the picture was padded equally on both sides; otherwise the first patch begins at the top left.
    """
    rows, columns = (
        _patches(count, n, patch, (count * patch - n) // 2 if centred else 0)
        for count, n in zip(shares.shape[2:], picture_size, strict=True)
    )
    return _spread(shares, rows, columns)


def _halves(count: int, n: int) -> np.ndarray:
    """[count, n]: row i is the mean of the positions 2i - 1, 2i, 2i + 1 among 0 ... n - 1, weighted by 1, 2, 1.

    Even positions lie under one kernel and odd ones under two, so these weights treat all positions equally.
    """
    distance = np.abs(np.arange(n) - 2 * np.arange(count)[:, None])
    return _rows_to_one(np.maximum(2 - distance, 0))


def _patches(count: int, n: int, patch: int, padding: int) -> np.ndarray:
    """[count, n]: row i is the mean of the pixels of patch i among 0 ... n - 1; the first begins at -padding."""
    offset = np.arange(n) + padding - patch * np.arange(count)[:, None]
    return _rows_to_one((offset >= 0) & (offset < patch))


def _rows_to_one(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=1, keepdims=True)


def _spread(shares: Tensor, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    """shares [B, M, H, W], rows [H, H'], columns [W, W'] -> [B, M, H', W']"""
    return paddle.matmul(paddle.matmul(paddle.to_tensor(rows), shares, transpose_x=True), paddle.to_tensor(columns))
