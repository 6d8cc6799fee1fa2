"""Weights of a RegionViT made to fit one with another window size: functions of numpy arrays.

A window of another size covers another share of the picture with tokens of the same size. What depends on it are the
tables of relative positions and the convolution that makes regional tokens.
"""

import math

import numpy as np

from engine.weights.pdparams import listed
from models.windows import table_order

TABLE, KERNEL, PEG = ".rel_pos", "cls_token.proj.weight", ".peg.weight"


def fit(arrays, expected):
    """Return arrays of which those that depend on the window size have the expected shapes, and lines that tell which.

    PEG that is missing is all 0: it is added to the tokens, which so stay what they are. What fits is left alone, and
    so is what cannot be made to fit.

    Args:
        arrays: names -> numpy arrays.
        expected: a model's parameters by name; only their shapes are looked at.
    """
    fitted, resampled, zeros = dict(arrays), [], []
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
    lines += [f"{listed(zeros)}: 0 at first: not in the file"] * bool(zeros)
    return fitted, lines


def relative_positions(table, ws):
    """Interpolate a table of relative positions for windows of ws x ws.

    [heads, (2 old - 1)**2] -> [heads, (2 ws - 1)**2], float32. The table is brought into the order of its offsets, made
    larger or smaller like a picture, bilinearly and with its corners kept, and brought back: a bias stays where it was
    in units of windows. Source: Swin Transformer (Liu et al., ICCV 2021), fine-tuning with another window size.
    """
    old = _window(table.shape)
    order, new_order = table_order(old), table_order(ws)
    offsets = table.reshape([-1, 2 * old - 1, 2 * old - 1])[:, order[:, None], order]  # heads, offset y, offset x
    matrix = _bilinear(np.linspace(0, 2 * old - 2, 2 * ws - 1), 2 * old - 1)
    resized = np.empty([len(table), 2 * ws - 1, 2 * ws - 1], np.float32)
    resized[:, new_order[:, None], new_order] = matrix @ offsets @ matrix.T
    return resized.reshape([len(table), -1])


def patch_kernel(weight, side):
    """Resample the kernels of a patch embedding for patches of another side.

    [E, C, old, old] -> [E, C, side, side], float32. A larger kernel makes of a patch that is enlarged bilinearly
    exactly what the old one makes of the patch itself; one enlarged like a picture would make several times as much.
    Source: FlexiViT (Beyer et al., CVPR 2023), Section 3.4, "PI-resize"; the pseudo-inverse of the enlargement along
    both axes is that along one, applied twice.
    """
    old = weight.shape[-1]
    centres = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
    matrix = np.linalg.pinv(_bilinear(centres, old)).T
    return (matrix @ weight @ matrix.T).astype(np.float32)


def _bilinear(positions, size):
    """The matrix [positions, size] that interpolates between values at 0 .. size - 1."""
    return np.maximum(0, 1 - abs(positions[:, None] - np.arange(size)))


def _window(shape):
    return (math.isqrt(shape[1]) + 1) // 2


def _is_table(shape, heads):
    return len(shape) == 2 and shape == (heads, (2 * _window(shape) - 1) ** 2)


def _is_kernel(shape, like):
    return len(shape) == 4 and shape[:2] == like[:2] and shape[2] == shape[3] > 0
