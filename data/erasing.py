"""Random erasing with randomness as a value: `erase(image, box)`, the boxes from `sample(rng, n, size, probability)`.

Source: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020. What is erased becomes 0 in the normalised picture,
the mean colour: timm's mode `const`, in which nothing else has to be drawn.
"""

import functools

import numpy as np
import paddle

from . import streams

AREA = (0.02, 1 / 3)  # share of the picture
ASPECT = 0.3  # the least, of height to width; the largest is its inverse


def sample(rng, n, size, probability):
    """Draw what is erased of n pictures of size x size: int64 [n, 4]: top, left, height, width; all 0: nothing."""
    area = rng.uniform(*AREA, n)
    aspect = np.exp(rng.uniform(-1, 1, n) * -np.log(np.maximum(ASPECT, area)))  # such that it fits
    sides = np.rint(size * np.sqrt([area * aspect, area / aspect])).astype(np.int64)
    corner = rng.integers(size - sides, endpoint=True)
    return np.concatenate([corner, sides]).T * (rng.random((n, 1)) < probability)


@functools.lru_cache(maxsize=2)
def boxes(seed, epoch, n, size, probability):
    """Return what is drawn for all n pictures of a split in an epoch."""
    return sample(streams.generator(streams.ERASING, seed, epoch), n, size, probability)


def erase(image, box):
    """Erase a box [4] of a normalised picture, an array [3, size, size], in place; return the picture."""
    top, left, height, width = box
    image[:, top : top + height, left : left + width] = 0
    return image


@paddle.no_grad()
def erase_batch(images, boxes):
    """Erase on the device: normalised pictures float32 [n, 3, size, size] and boxes float32 [n, 4], both tensors."""
    first, sides = boxes[:, :2].unsqueeze(2), boxes[:, 2:].unsqueeze(2)
    place = _places(images.shape[2], paddle.get_device())
    inside = ((place >= first) & (place < first + sides)).astype("float32")  # n, (rows, columns), size
    kept = (1 - paddle.matmul(inside[:, 0].unsqueeze(2), inside[:, 1].unsqueeze(1))).unsqueeze(1)  # n, 1, size, size
    return images * paddle.concat([kept] * 3, axis=1)  # the same shape: broadcasting takes a CPU several times as long


@functools.lru_cache
def _places(size, device):
    return paddle.to_tensor(np.arange(size), "float32")  # made once: anew, it would be a copy to the device a batch
