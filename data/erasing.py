"""Random erasing with randomness as a value: `erase(image, box)`, the boxes from `sample(rng, n, size, probability)`.

Source: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020. Erased pixels become 0 in the normalized picture,
the mean color. This is timm's mode `const`, which draws nothing else.
"""

import functools

import numpy as np
import paddle
from paddle import Tensor

from . import streams

AREA = (0.02, 1 / 3)  # share of the picture
ASPECT = 0.3  # smallest ratio of height to width; the largest is its inverse


def sample(rng: np.random.Generator, n: int, size: int, probability: float) -> np.ndarray:
    """Draw the boxes that are erased of n pictures of size x size.

    -> int64 [n, 4]: top, left, height, width; all are 0 where nothing is erased.
    """
    area = rng.uniform(*AREA, n)
    aspect = np.exp(rng.uniform(-1, 1, n) * -np.log(np.maximum(ASPECT, area)))  # such that the box fits
    sides = np.rint(size * np.sqrt([area * aspect, area / aspect])).astype(np.int64)
    corner = rng.integers(size - sides, endpoint=True)
    return np.concatenate([corner, sides]).T * (rng.random((n, 1)) < probability)


@functools.lru_cache(maxsize=2)
def boxes(seed: int, epoch: int, n: int, size: int, probability: float) -> np.ndarray:
    """Return the boxes for all n pictures of a split in an epoch; see `sample`."""
    return sample(streams.generator(streams.ERASING, seed, epoch), n, size, probability)


def erase(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Erase a box [4] of a normalized picture [3, size, size] in place; return the picture."""
    top, left, height, width = box
    image[:, top : top + height, left : left + width] = 0
    return image


@paddle.no_grad()
def erase_batch(images: Tensor, boxes: Tensor) -> Tensor:
    """Erase on the device: normalized pictures float32 [n, 3, size, size], boxes float32 [n, 4] -> the pictures."""
    first, sides = boxes[:, :2].unsqueeze(2), boxes[:, 2:].unsqueeze(2)
    place = _places(images.shape[2], paddle.get_device())
    inside = ((place >= first) & (place < first + sides)).astype("float32")  # n, (rows, columns), size
    kept = (1 - paddle.matmul(inside[:, 0].unsqueeze(2), inside[:, 1].unsqueeze(1))).unsqueeze(1)  # n, 1, size, size
    return images * paddle.concat([kept] * 3, axis=1)  # same shape: broadcasting is several times slower on a CPU


@functools.lru_cache
def _places(size: int, device: str) -> Tensor:
    return paddle.to_tensor(np.arange(size), "float32")  # cached, or each batch would copy it to the device
