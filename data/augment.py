"""The notebook's training augmentation with randomness as a value: `apply(images, sample(rng, n))`.

`sample` draws what `data.host`'s transforms draw; three appliers make the same pictures of it: `apply_cv2` on a CPU,
`apply_ops` on the device in batched operators, and `apply_vision`, the notebook's own functions, to hold them against.
"""

import functools
from dataclasses import dataclass
from unittest import mock

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.vision.transforms import functional as V

from .host import AS_THE_NOTEBOOK, MEAN, STD

RATIO = (3 / 4, 4 / 3)  # of the crop's width, in its height
TRIES = 10
PIVOT = 74  # about which paddle.vision's cv2 backend stretches contrast, whatever the picture's mean
BRIGHTNESS, CONTRAST, SATURATION = range(3)
# OpenCV's weights for BGR. The pictures are RGB, so red gets blue's weight: paddle.vision does not swap them either.
GREY = (0.114, 0.587, 0.299)


@dataclass(frozen=True)
class Params:
    """How n pictures are augmented, as arrays or tensors; `params[indices]` are those of some of them."""

    box: np.ndarray  # [n, 4]: top, left, height and width of the crop
    order: np.ndarray  # [n, 3]: which of BRIGHTNESS, CONTRAST and SATURATION comes first, second and third
    factor: np.ndarray  # [n, 3]: of brightness, contrast and saturation
    flip: np.ndarray  # [n]: left to right, or not
    angle: np.ndarray  # [n]: degrees, counter-clockwise

    def __len__(self):
        return len(self.flip)

    def __getitem__(self, indices):
        return self.map(lambda values: values[indices])

    def map(self, function):
        return Params(**{name: function(values) for name, values in vars(self).items()})

    def upload(self):
        """Return the same as float32 tensors on the current device."""
        return self.map(lambda values: paddle.to_tensor(values.astype(np.float32)))


def sample(rng, n, height=32, width=32, augmentation=AS_THE_NOTEBOOK):
    """Draw, from a numpy Generator, how n pictures of height x width are augmented.

    The distributions are those of the notebook's transforms, saturation's included: paddle.vision draws a factor
    f in 0.8..1.2, and where it applies it draws what it really uses, in 1-f..1+f.
    """
    jitter, rotation = augmentation.jitter, augmentation.rotation
    factor = rng.uniform(1 - jitter, 1 + jitter, (n, 3))
    if jitter:
        factor[:, SATURATION] = rng.uniform(np.maximum(0, 1 - factor[:, SATURATION]), 1 + factor[:, SATURATION])
    return Params(
        box=_boxes(rng, n, height, width, augmentation.crop),
        order=rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1),
        factor=factor.astype(np.float32),
        flip=rng.random(n) < 0.5,
        angle=rng.uniform(-rotation, rotation, n).astype(np.float32),
    )


def _boxes(rng, n, height, width, least):
    """Draw crops as `RandomResizedCrop` does: the first of ten that fits; if none does, the middle of the picture."""
    area = rng.uniform(least, 1, (TRIES, n)) * height * width
    ratio = np.exp(rng.uniform(*np.log(RATIO), (TRIES, n)))
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


def apply_vision(images, params, size):
    """Augment by paddle.vision's own functions, one picture at a time: uint8 [n, h, w, 3] -> uint8 [n, size, size, 3].

    Slow; the other two are measured by it.
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


def apply_cv2(images, params, size):
    """Augment on one thread of a CPU: uint8 [n, h, w, 3] -> uint8 [n, size, size, 3].

    Flip and jitter come before the resize, where there are fewer pixels: jitter's truncations then fall elsewhere, by a
    fraction of a step. A pixel has four channels until the end: rotation, which only moves pixels, then takes it for
    one float32, and is twice as fast.
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


def _jitter(params):
    """Brightness and contrast as tables, uint8 [n, 256]: the one that comes first, the second, both in one go; and
    saturation as matrices [n, 4, 4] from (red, green, blue, 1) to (red, green, blue, 0)."""
    brightness, contrast, saturation = params.factor.astype(np.float64).T[:, :, None]
    level = np.arange(256)
    tables = np.stack([level * brightness, (level - PIVOT) * contrast + PIVOT])  # 2, n, 256
    tables = tables.clip(0, 255).astype(np.uint8)
    swap = (params.order == CONTRAST).argmax(1) < (params.order == BRIGHTNESS).argmax(1)
    first, second = np.where(swap[:, None], tables[::-1], tables)
    both = np.take_along_axis(second, first.astype(np.intp), axis=1)
    matrices = np.zeros((len(params), 4, 4), np.float32)
    matrices[:, :3, :3] = (1 - saturation[:, :, None]) * GREY + saturation[:, :, None] * np.eye(3)
    matrices[:, :3, 3] = -0.499  # cv2 rounds, paddle.vision cuts off; not -0.5, or what is whole already may lose 1
    return first, second, both, matrices


def _turns(angle, size):
    """[n] degrees -> [n, 2, 3]: matrices from a pixel (x, y, 1) of the rotated picture to where it comes from.

    The centre is (size / 2, size / 2), half a pixel off the picture's: so paddle.vision has it.
    """
    turn = np.deg2rad(angle.astype(np.float64))
    cos, sin = np.cos(turn), np.sin(turn)
    centre = size / 2
    rows = [[cos, -sin, centre * (1 - cos + sin)], [sin, cos, centre * (1 - cos - sin)]]
    return np.array(rows).transpose(2, 0, 1)


@paddle.no_grad()
def apply_ops(images, params, size):
    """Augment and normalise by batched operators, on the device and without waiting for it.

    Images uint8 [n, h, w, 3] and params, both tensors -> float32 [n, 3, size, size].
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
    for i in range(3):  # the picture's first, second and third, which differ from picture to picture
        x = x * factor[:, i] + ((x * grey).sum(axis=1, keepdim=True) * to_grey[:, i] + to_pivot[:, i])
        x = paddle.floor(x.clip(0, 255))
    return normalise_levels(x * inside)


@paddle.no_grad()
def normalise_levels(x):
    """Normalise levels of 0..255, float32 [n, 3, H, W].

    Batch normalisation by these means and variances is the same, and on a CPU ten times as fast as `x * a + b`.
    """
    _, mean, variance, one, zero = _colours(paddle.get_device())
    return F.batch_norm(x, mean, variance, one, zero, epsilon=0.0)


def _grid(params, size, height, width):
    """Where in the small pictures the pixels of the large ones come from: crop, resize, flip and rotation in one.

    Returns:
        grid [n, size, size, 2] for `grid_sample`, and [n, 1, size, size]: 1, or 0 where rotation has nothing to show.
    """
    angle = (params.angle * (np.pi / 180)).reshape([-1, 1, 1, 1])
    pixels, across = _pixels(size, paddle.get_device())
    # Nearest pixel of the unrotated picture, (x, y) from its middle, which is half a pixel off rotation's centre;
    # with an odd size that centre is not a pixel's place but lies between two.
    odd = size % 2 / 2
    source = paddle.floor(pixels * paddle.cos(angle) + across * paddle.sin(angle) + (0.5 + odd)) + (0.5 - odd)
    inside = (source.abs().max(axis=3) < size / 2).astype("float32").unsqueeze(1)
    box = params.box.reshape([-1, 1, 1, 4]).flip(3)  # width, height, left, top
    side, corner = box[..., :2], box[..., 2:]
    one = paddle.ones_like(params.flip)
    mirror = paddle.stack([one - 2 * params.flip, one], axis=1).reshape([-1, 1, 1, 2])
    # cv2 repeats the crop's border, so nothing is taken from beyond the middle of its outermost pixels.
    reach = (side - 1) / 2
    source = (source * (mirror * side / (reach * size))).clip(-1, 1)  # 1 is the reach
    whole = _whole(height, width, paddle.get_device())
    return source * (reach / whole) + ((corner + reach) / whole - 1), inside


# Constants are made once: anew, they would be a copy to the device in every batch.
@functools.lru_cache
def _pixels(size, device):
    axis = np.arange(size, dtype=np.float32) - size / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    pixels, across = np.stack([x, y], axis=2)[None], np.stack([-y, x], axis=2)[None]  # 1, size, size, 2
    return paddle.to_tensor(pixels, "float32"), paddle.to_tensor(across, "float32")


@functools.lru_cache
def _whole(height, width, device):
    return paddle.to_tensor([(width - 1) / 2, (height - 1) / 2], "float32")


@functools.lru_cache
def _colours(device):
    """The weights of grey [1, 3, 1, 1]; means, variances, ones and zeros [3] for levels 0..255."""
    levels = 255 * np.float64(MEAN), (255 * np.float64(STD)) ** 2, np.ones(3), np.zeros(3)
    return [paddle.to_tensor(value, "float32") for value in (np.reshape(GREY, [1, 3, 1, 1]), *levels)]
