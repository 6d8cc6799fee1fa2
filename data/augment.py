"""The notebook's training augmentation with randomness as a value: `apply(images, sample(rng, n))`.

`sample` draws from the distributions of the transforms in `data.host`. Three appliers turn these parameters into the
same pictures: `apply_cv2` on a CPU, `apply_ops` by batched operators on the device, and `apply_vision` by the
notebook's own functions, as the reference.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.vision.transforms import functional as V

from .epoch import AS_THE_NOTEBOOK, Augmentation
from .normalise import MEAN, STD

RATIO = (3 / 4, 4 / 3)  # range of a crop's ratio of width to height
TRIES = 10
PIVOT = 74  # paddle.vision's cv2 backend stretches contrast about this level, whatever the picture's mean
BRIGHTNESS, CONTRAST, SATURATION = range(3)
# OpenCV's weights for BGR. The pictures are RGB, so red gets blue's weight: paddle.vision does not swap them either.
GREY = (0.114, 0.587, 0.299)
ArrayOrTensor = Any


@dataclass(frozen=True)
class Params:
    """How n pictures are augmented, as arrays or tensors; `params[indices]` selects some of the pictures."""

    box: ArrayOrTensor  # [n, 4]: top, left, height and width of the crop
    order: ArrayOrTensor  # [n, 3]: which of BRIGHTNESS, CONTRAST and SATURATION comes first, second and third
    factor: ArrayOrTensor  # [n, 3]: of brightness, contrast and saturation
    flip: ArrayOrTensor  # [n]: whether to flip left to right
    angle: ArrayOrTensor  # [n]: degrees, counter-clockwise

    def __len__(self) -> int:
        return len(self.flip)

    def __getitem__(self, indices: ArrayOrTensor) -> "Params":
        return self.map(lambda values: values[indices])

    def map(self, function: Callable[[ArrayOrTensor], ArrayOrTensor]) -> "Params":
        return Params(**{name: function(values) for name, values in vars(self).items()})

    def upload(self) -> "Params":
        """Return these parameters as float32 tensors on the current device."""
        return self.map(lambda values: paddle.to_tensor(values.astype(np.float32)))


def sample(
    rng: np.random.Generator,
    n: int,
    height: int = 32,
    width: int = 32,
    augmentation: Augmentation = AS_THE_NOTEBOOK,
) -> Params:
    """Draw how n pictures of height x width are augmented.

    The distributions are those of the notebook's transforms. Saturation draws twice: paddle.vision draws a factor
    f in 0.8..1.2, and on applying it draws the effective one in 1-f..1+f.
    """
    jitter, rotation = augmentation.jitter, augmentation.rotation
    factor = rng.uniform(1 - jitter, 1 + jitter, (n, 3))
    if jitter:
        factor[:, SATURATION] = rng.uniform(np.maximum(0, 1 - factor[:, SATURATION]), 1 + factor[:, SATURATION])
    return Params(
        box=_boxes(rng, n, height, width, augmentation.crop),
        order=rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1),
        factor=factor.astype(np.float32),
        flip=rng.random(n) < augmentation.flip,
        angle=rng.uniform(-rotation, rotation, n).astype(np.float32),
    )


def _boxes(rng: np.random.Generator, n: int, height: int, width: int, least: float) -> np.ndarray:
    """Draw crops as `RandomResizedCrop` does: the first of ten that fits, or else the middle of the picture."""
    area = rng.uniform(least, 1, (TRIES, n)) * height * width
    narrowest, widest = np.log(RATIO)
    ratio = np.exp(rng.uniform(narrowest, widest, (TRIES, n)))
    heights = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    widths = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = fits.argmax(0), np.arange(n)
    none = ~fits[first]
    h = np.where(none, min(height, round(width / RATIO[0])), heights[first])
    w = np.where(none, min(width, round(height * RATIO[1])), widths[first])
    top = np.where(none, (height - h) // 2, rng.integers(height - h, endpoint=True))
    left = np.where(none, (width - w) // 2, rng.integers(width - w, endpoint=True))
    return np.stack([top, left, h, w], axis=1)


def apply_vision(images: np.ndarray, params: Params, size: int) -> np.ndarray:
    """Augment by paddle.vision's own functions, one picture at a time: uint8 [n, h, w, 3] -> uint8 [n, size, size, 3].

    It is slow and serves as the reference for the other two appliers.
    """
    jitter = V.adjust_brightness, V.adjust_contrast, V.adjust_saturation
    out = np.empty((len(images), size, size, 3), np.uint8)
    for i, (top, left, height, width) in enumerate(params.box.tolist()):
        image = V.resize(V.crop(images[i], top, left, height, width), (size, size))
        for kind in params.order[i]:
            factor = float(params.factor[i, kind])
            with mock.patch.object(np.random, "uniform", return_value=factor):  # saturation's second draw
                image = jitter[kind](image, factor)
        image = V.hflip(image) if params.flip[i] else image
        out[i] = V.rotate(image, float(params.angle[i]))
    return out


def apply_cv2(images: np.ndarray, params: Params, size: int) -> np.ndarray:
    """Augment on one thread of a CPU: uint8 [n, h, w, 3] -> uint8 [n, size, size, 3].

    Flip and jitter come before the resize, where there are fewer pixels; this shifts the truncations of jitter by a
    fraction of a level. A pixel keeps four channels until the end: rotation, which only moves pixels, treats it as one
    float32, and is twice as fast.
    """
    first, second, both, matrices = _jitter(params)
    turns = _turns(params.angle, size)
    position = (params.order == SATURATION).argmax(1).tolist()
    wide, turned = np.empty((2, size, size, 4), np.uint8)
    wide_pixels, turned_pixels = (x.view(np.float32)[..., 0] for x in (wide, turned))
    out = np.empty((len(images), size, size, 3), np.uint8)
    for i, (top, left, height, width) in enumerate(params.box.tolist()):
        image = images[i, top : top + height, left : left + width]
        if params.flip[i]:
            image = cv2.flip(image, 1)
        if position[i]:
            image = cv2.LUT(image, first[i] if position[i] == 1 else both[i])
        image = cv2.transform(image, matrices[i])
        if position[i] < 2:
            image = cv2.LUT(image, second[i] if position[i] == 1 else both[i])
        cv2.resize(image, (size, size), dst=wide)
        cv2.warpAffine(
            wide_pixels, turns[i], (size, size), dst=turned_pixels, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        )
        cv2.cvtColor(turned, cv2.COLOR_RGBA2RGB, dst=out[i])
    return out


def _jitter(params: Params) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return brightness and contrast as tables, and saturation as matrices.

    -> uint8 [n, 256] of the operation that comes first, of the second, and of both in sequence; float32 [n, 4, 4] from
    (red, green, blue, 1) to (red, green, blue, 0).
    """
    brightness, contrast, saturation = params.factor.astype(np.float64).T[:, :, None]
    level = np.arange(256)
    tables = np.stack([level * brightness, (level - PIVOT) * contrast + PIVOT])  # 2, n, 256
    tables = tables.clip(0, 255).astype(np.uint8)
    swap = (params.order == CONTRAST).argmax(1) < (params.order == BRIGHTNESS).argmax(1)
    first, second = np.where(swap[:, None], tables[::-1], tables)
    both = np.take_along_axis(second, first.astype(np.intp), axis=1)
    matrices = np.zeros((len(params), 4, 4), np.float32)
    matrices[:, :3, :3] = (1 - saturation[:, :, None]) * GREY + saturation[:, :, None] * np.eye(3)
    matrices[:, :3, 3] = -0.499  # cv2 rounds, paddle.vision truncates; -0.5 could lower whole values by 1
    return first, second, both, matrices


def _turns(angle: np.ndarray, size: int) -> np.ndarray:
    """[n] degrees -> [n, 2, 3]: matrices from a pixel (x, y, 1) of the rotated picture to its source.

    As in paddle.vision, the center is (size / 2, size / 2), half a pixel off the picture's.
    """
    turn = np.deg2rad(angle.astype(np.float64))
    cos, sin = np.cos(turn), np.sin(turn)
    centre = size / 2
    rows = [[cos, -sin, centre * (1 - cos + sin)], [sin, cos, centre * (1 - cos - sin)]]
    return np.array(rows).transpose(2, 0, 1)


@paddle.no_grad()
def apply_ops(images: Tensor, params: Params, size: int) -> Tensor:
    """Augment and normalize by batched operators, on the device and without a synchronization.

    images uint8 [n, h, w, 3] and params, all tensors -> float32 [n, 3, size, size]
    """
    height, width = images.shape[1:3]
    grid, inside = _grid(params, size, height, width)
    x = images.astype("float32").transpose([0, 3, 1, 2])
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)
    x = paddle.floor(x + 0.5)
    grey = _colours(paddle.get_device())[0]
    factor = paddle.take_along_axis(params.factor, params.order.astype("int64"), axis=1)
    to_grey = (params.order == SATURATION).astype("float32") * (1 - factor)
    to_pivot = (params.order == CONTRAST).astype("float32") * (1 - factor) * PIVOT
    factor, to_grey, to_pivot = (values.unsqueeze([2, 3, 4]) for values in (factor, to_grey, to_pivot))
    for i in range(3):  # the i-th operation is another one in each picture
        x = x * factor[:, i] + ((x * grey).sum(axis=1, keepdim=True) * to_grey[:, i] + to_pivot[:, i])
        x = paddle.floor(x.clip(0, 255))
    return normalise_levels(x * inside)


@paddle.no_grad()
def normalise_levels(x: Tensor) -> Tensor:
    """Normalize levels of 0..255: float32 [n, 3, H, W] -> the same shape.

    Batch normalization by these means and variances is equivalent, and on a CPU ten times as fast as `x * a + b`.
    """
    _, mean, variance, one, zero = _colours(paddle.get_device())
    return F.batch_norm(x, mean, variance, one, zero, epsilon=0.0)


def _grid(params: Params, size: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the source of each output pixel: crop, resize, flip and rotation in one.

    -> grid [n, size, size, 2] for `grid_sample`; [n, 1, size, size], 0 where rotation uncovers a pixel and 1 elsewhere.
    """
    angle = (params.angle * (np.pi / 180)).reshape([-1, 1, 1, 1])
    pixels, across = _pixels(size, paddle.get_device())
    # Nearest pixel of the unrotated picture, (x, y) from its middle, which is half a pixel off the center of rotation;
    # with an odd size that center lies between two pixels.
    odd = size % 2 / 2
    source = paddle.floor(pixels * paddle.cos(angle) + across * paddle.sin(angle) + (0.5 + odd)) + (0.5 - odd)
    inside = (source.abs().max(axis=3) < size / 2).astype("float32").unsqueeze(1)
    box = params.box.reshape([-1, 1, 1, 4]).flip(3)  # width, height, left, top
    side, corner = box[..., :2], box[..., 2:]
    one = paddle.ones_like(params.flip)
    mirror = paddle.stack([one - 2 * params.flip, one], axis=1).reshape([-1, 1, 1, 2])
    # cv2 repeats the crop's border, so no source lies beyond the middle of its outermost pixels.
    reach = (side - 1) / 2
    source = (source * (mirror * side / (reach * size))).clip(-1, 1)  # 1 is the reach
    whole = _whole(height, width, paddle.get_device())
    return source * (reach / whole) + ((corner + reach) / whole - 1), inside


# Constants are cached, or each batch would copy them to the device.
@functools.lru_cache
def _pixels(size: int, device: str) -> tuple[Tensor, Tensor]:
    axis = np.arange(size, dtype=np.float32) - size / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    pixels, across = np.stack([x, y], axis=2)[None], np.stack([-y, x], axis=2)[None]  # 1, size, size, 2
    return paddle.to_tensor(pixels, "float32"), paddle.to_tensor(across, "float32")


@functools.lru_cache
def _whole(height: int, width: int, device: str) -> Tensor:
    return paddle.to_tensor([(width - 1) / 2, (height - 1) / 2], "float32")


@functools.lru_cache
def _colours(device: str) -> list[Tensor]:
    """Return the weights of gray [1, 3, 1, 1]; means, variances, ones and zeros [3] for levels 0..255."""
    levels = 255 * np.array(MEAN), (255 * np.array(STD)) ** 2, np.ones(3), np.zeros(3)
    return [paddle.to_tensor(value, "float32") for value in (np.reshape(GREY, [1, 3, 1, 1]), *levels)]
