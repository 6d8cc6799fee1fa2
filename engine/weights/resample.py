"""Resampling of weights for another window size, on numpy arrays.

Tokens keep their size, so a larger window covers more of the picture. Two kinds of weights depend on the window size:
the tables of relative positions, and the convolution that makes regional tokens.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.weights.pdparams import listed
from models.windows import table_order

TABLE, KERNEL, PEG = ".rel_pos", "cls_token.proj.weight", ".peg.weight"


def fit(arrays: Mapping[str, np.ndarray], expected: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Resample the arrays that depend on the window size to the expected shapes.

    A missing PEG becomes 0: its output is added to the tokens, so it changes nothing at first. Arrays that already fit,
    or cannot be made to fit, stay unchanged.

    Args:
        arrays: by name.
        expected: a model's parameters by name; only their shapes matter.

    Returns:
        arrays by name, and lines for the log.
    """
    fitted = dict(arrays)
    resampled: list[str] = []
    zeros: list[str] = []
    for key, parameter in expected.items():
        shape = tuple(parameter.shape)
        if key not in arrays:
            if key.endswith(PEG):
                fitted[key] = np.zeros(shape, np.float32)
                zeros.append(key)
        elif arrays[key].shape != shape:
            if key.endswith(TABLE) and _is_table(arrays[key].shape, heads=shape[0]):
                fitted[key] = relative_positions(arrays[key], _window(shape))
                resampled.append(key)
            elif key == KERNEL and _is_kernel(arrays[key].shape, like=shape):
                fitted[key] = patch_kernel(arrays[key], shape[-1])
                resampled.append(key)
    lines = [f"{listed(resampled)}: resampled for windows of another size"] * bool(resampled)
    lines += [f"{listed(zeros)}: 0 at first: missing in the file"] * bool(zeros)
    return fitted, lines


def relative_positions(table: np.ndarray, ws: int) -> np.ndarray:
    """Interpolate a table of relative positions for windows of ws x ws.

    [heads, (2 old - 1)**2] -> [heads, (2 ws - 1)**2], float32. The table is sorted by offset, resized bilinearly with
    aligned corners, and brought back into its own order, so a bias keeps its offset in units of windows.
    Source: Swin Transformer (Liu et al., ICCV 2021), fine-tuning with another window size.
    """
    old = _window(table.shape)
    order, new_order = table_order(old), table_order(ws)
    offsets = table.reshape([-1, 2 * old - 1, 2 * old - 1])[:, order[:, None], order]  # heads, offset y, offset x
    matrix = _bilinear(np.linspace(0, 2 * old - 2, 2 * ws - 1), 2 * old - 1)
    resized = np.empty([len(table), 2 * ws - 1, 2 * ws - 1], np.float32)
    resized[:, new_order[:, None], new_order] = matrix @ offsets @ matrix.T
    return resized.reshape([len(table), -1])


def patch_kernel(weight: np.ndarray, side: int) -> np.ndarray:
    """Resample the kernels of a patch embedding for patches of another side.

    [E, C, old, old] -> [E, C, side, side], float32. A larger kernel gives the same output for a bilinearly enlarged
    patch as the old kernel for the patch itself; plain bilinear resizing would multiply the output.
    Source: FlexiViT (Beyer et al., CVPR 2023), Section 3.4, "PI-resize". The resizing is separable, so its
    pseudo-inverse is applied along each axis.
    """
    old = weight.shape[-1]
    centres = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
    matrix = np.linalg.pinv(_bilinear(centres, old)).T
    return (matrix @ weight @ matrix.T).astype(np.float32)


def _bilinear(positions: np.ndarray, size: int) -> np.ndarray:
    """Return the matrix [positions, size] that interpolates values at 0 .. size - 1."""
    return np.maximum(0, 1 - abs(positions[:, None] - np.arange(size)))


def _window(shape: tuple[int, ...]) -> int:
    return (math.isqrt(shape[1]) + 1) // 2


def _is_table(shape: tuple[int, ...], heads: int) -> bool:
    return len(shape) == 2 and shape == (heads, (2 * _window(shape) - 1) ** 2)


def _is_kernel(shape: tuple[int, ...], like: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[:2] == like[:2] and shape[2] == shape[3] > 0
