"""One product, one convolution and one `grid_sample` against numpy in float64."""

import numpy as np
import paddle
import paddle.nn.functional as F

from engine.check.check import Context, Result, worst_of


def check(context: Context) -> Result:
    """Return the largest difference, as a share of the largest number of the same result."""
    errors = {name: float(np.abs(ours - true).max() / np.abs(true).max()) for name, (ours, true) in _results().items()}
    figure = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    return Result(worst_of(errors.values()), figure, numbers=errors)


def _results() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return what the device computes and what is true, by operator."""
    rng = np.random.RandomState(0)
    a, b = _normal(rng, 256, 512), _normal(rng, 512, 128)
    x, weight = _normal(rng, 2, 16, 21, 21), _normal(rng, 32, 16, 3, 3)
    image, grid = _normal(rng, 2, 3, 32, 32), rng.uniform(-1, 1, (2, 40, 40, 2)).astype(np.float32)
    on_device = [paddle.to_tensor(array) for array in (a, b, x, weight, image, grid)]
    sampled = F.grid_sample(*on_device[4:], mode="bilinear", padding_mode="border", align_corners=True)
    return {
        "product": (paddle.matmul(*on_device[:2]).numpy(), a.astype(np.float64) @ b),
        "convolution": (F.conv2d(*on_device[2:4], stride=2, padding=1).numpy(), _convolved(x, weight)),
        "grid_sample": (sampled.numpy(), _sampled(image, grid)),
    }


def _normal(rng: np.random.RandomState, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolve with stride 2 and one pixel of zeros around, in float64."""
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::2, ::2]
    return np.einsum("bchwij,dcij->bdhw", windows, weight)


def _sampled(images: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Sample images [B, C, H, W] at grid [B, h, w, 2], where -1 and 1 are the middles of the outermost pixels."""
    B, last = len(images), np.array(images.shape[:1:-1]) - 1  # x before y
    at = ((grid.astype(np.float64) + 1) / 2 * last).clip(0, last)
    low = np.minimum(np.floor(at).astype(int), last - 1)
    (x, y), (dx, dy) = np.moveaxis(low, 3, 0), np.moveaxis(at - low, 3, 0)
    of = np.arange(B)[:, None, None]
    corners = [(0, 0, (1 - dx) * (1 - dy)), (1, 0, dx * (1 - dy)), (0, 1, (1 - dx) * dy), (1, 1, dx * dy)]
    # Indices around a slice: numpy puts the channels last.
    return sum(images[of, :, y + j, x + i] * share[..., None] for i, j, share in corners).transpose(0, 3, 1, 2)
