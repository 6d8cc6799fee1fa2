"""The 15 corruptions of CIFAR-10-C as functions: picture float64 [h, w, 3] in 0..1 -> the same, not clipped.

What each does follows Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, and their program `make_cifar_c.py`, whose libraries are replaced by numpy, SciPy and Pillow:
scikit-image's filters by those of SciPy that it calls, ImageMagick's motion blur by its formula.
"""

import functools
import hashlib
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy import ndimage

from .dataset import DataError

GRAY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV and Pillow
# The pictures of frost in the authors' repository and in the wheels of `imagecorruptions`. There is a sixth, which
# their program never draws.
FROST = {
    "frost1.png": "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755",
    "frost2.png": "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137",
    "frost3.png": "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504",
    "frost4.jpg": "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e",
    "frost5.jpg": "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2",
}
FROST_SCALE = 5  # they are used at a fifth of their size


def gaussian_noise(x: np.ndarray, rng: np.random.Generator, deviation: float) -> np.ndarray:
    return x + rng.normal(0, deviation, x.shape)


def shot_noise(x: np.ndarray, rng: np.random.Generator, photons: float) -> np.ndarray:
    return rng.poisson(x * photons) / photons


def impulse_noise(x: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    hit, salt = rng.random(x.shape) < amount, rng.random(x.shape) < 0.5
    return np.where(hit, salt.astype(x.dtype), x)


def defocus_blur(x: np.ndarray, rng: np.random.Generator, radius: float, alias: float) -> np.ndarray:
    """Blur by a disk whose edge is smoothed by a Gaussian of deviation `alias`, cut off at three pixels."""
    reach = math.ceil(radius) + 1
    offsets = np.arange(-reach, reach + 1)
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(float)
    edge = np.exp(-(np.arange(-1, 2) ** 2) / (2 * alias**2))
    kernel = ndimage.correlate(disk / disk.sum(), np.outer(edge, edge) / edge.sum() ** 2, mode="constant")
    return ndimage.correlate(x, kernel[:, :, None], mode="mirror")


def glass_blur(x: np.ndarray, rng: np.random.Generator, sigma: float, times: int) -> np.ndarray:
    """Blur, let pixels take a neighbor's color, blur again.

    The original means to swap two pixels, but numpy's rows are views, so that one color is copied instead. Its
    neighbors are those above and to the left, which keep their colors until then: so all pixels can go at once.
    """
    x = _blurred(x, sigma)
    rows, columns = (np.arange(2, size) for size in x.shape[:2])
    for _ in range(times):
        down, right = rng.integers(-1, 1, (2, len(rows), len(columns)))
        taken = x[rows[:, None] + down, columns + right]
        x[2:, 2:] = taken
    return _blurred(x, sigma)


def motion_blur(x: np.ndarray, rng: np.random.Generator, radius: int, sigma: float) -> np.ndarray:
    return _moved(x, radius, sigma, rng.uniform(-45, 45))


def zoom_blur(x: np.ndarray, rng: np.random.Generator, largest: float) -> np.ndarray:
    """Average zooms by 1, 1.01, ... and the picture itself; rounding lets `largest` itself be among them, or not."""
    zooms = [_zoomed(x, factor) for factor in np.arange(1, largest, 0.01)]
    return (x + np.sum(zooms, axis=0)) / (len(zooms) + 1)


def snow(
    x: np.ndarray,
    rng: np.random.Generator,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: int,
    sigma: float,
    kept: float,
) -> np.ndarray:
    """Pale the picture, and add flakes: thresholded noise, enlarged, blurred by motion, twice."""
    flakes = _zoomed(rng.normal(mean, deviation, (*x.shape[:2], 1)), zoom)
    flakes = np.where(flakes < threshold, 0, flakes).clip(0, 1)
    flakes = _moved(flakes, radius, sigma, rng.uniform(-135, -45))
    red, green, blue = np.moveaxis(x, 2, 0)
    gray = GRAY[0] * red + GRAY[1] * green + GRAY[2] * blue  # `x @ GRAY` would have other last bits in another numpy
    pale = np.maximum(x, gray[:, :, None] * 1.5 + 0.5)
    return kept * x + (1 - kept) * pale + flakes + np.rot90(flakes, 2)


def frost(x: np.ndarray, rng: np.random.Generator, kept: float, share: float, *, folder: str) -> np.ndarray:
    """Add a random piece of one of the pictures in a folder."""
    ice = read_frost(folder)[rng.integers(len(FROST))]
    top, left = (int(rng.integers(full - size)) for full, size in zip(ice.shape[:2], x.shape[:2], strict=True))
    return kept * x + share * ice[top : top + x.shape[0], left : left + x.shape[1]] / 255


def fog(x: np.ndarray, rng: np.random.Generator, thickness: float, decay: float) -> np.ndarray:
    brightest = x.max()
    side = 1 << (max(x.shape[:2]) - 1).bit_length()
    veil = _plasma(rng, side, decay)[: x.shape[0], : x.shape[1], None]
    return (x + thickness * veil) * brightest / (brightest + thickness)


def brightness(x: np.ndarray, rng: np.random.Generator, added: float) -> np.ndarray:
    """Raise HSV's value. Hue and saturation stay, so that a pixel's colors are all multiplied by the same."""
    value = x.max(axis=2, keepdims=True)
    raised = (value + added).clip(0, 1)
    return np.where(value > 0, x * raised / np.where(value > 0, value, 1), raised)


def contrast(x: np.ndarray, rng: np.random.Generator, kept: float) -> np.ndarray:
    mean = x.mean(axis=(0, 1))
    return (x - mean) * kept + mean


def elastic_transform(
    x: np.ndarray, rng: np.random.Generator, strength: float, sigma: float, shift: float
) -> np.ndarray:
    """Move three points by up to `shift` pixels, then every pixel by smoothed noise."""
    height, width = x.shape[:2]
    middle, reach = np.array([width // 2, height // 2], float), min(height, width) // 3
    before = middle + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    after = before + rng.uniform(-shift, shift, before.shape)
    affine = np.linalg.solve(np.column_stack([after, np.ones(3)]), before)  # (x, y, 1) there -> (x, y) here
    rows, columns = np.mgrid[:height, :width].astype(float)
    across, down = np.moveaxis(np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ affine, -1, 0)
    x = _sampled(x, down, across, "mirror")
    across, down = (
        ndimage.gaussian_filter(rng.uniform(-1, 1, (height, width)), sigma, mode="reflect", truncate=3) * strength
        for _ in range(2)
    )
    return _sampled(x, rows + down, columns + across, "reflect")


def pixelate(x: np.ndarray, rng: np.random.Generator, scale: float) -> np.ndarray:
    picture = Image.fromarray(levels(x))
    small = picture.resize((int(picture.width * scale), int(picture.height * scale)), Image.Resampling.BOX)
    return np.asarray(small.resize(picture.size, Image.Resampling.BOX)) / 255


def jpeg_compression(x: np.ndarray, rng: np.random.Generator, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(levels(x)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)) / 255


def levels(x: np.ndarray) -> np.ndarray:
    """Round a picture to bytes: float64 in 0..1 -> uint8.

    The original cuts fractions off; then the last bit of a computation would decide about the level of a flat area.
    """
    return (x.clip(0, 1) * 255 + 0.5).astype(np.uint8)


@functools.lru_cache(maxsize=2)
def read_frost(folder: str) -> tuple[np.ndarray, ...]:
    """Return the pictures of frost at a fifth of their size: float64 [h, w, 3], levels 0 to 255.

    Raises:
        DataError: one is missing, or another.
    """
    return tuple(_reduced(_frost_picture(Path(folder) / name, digest)) for name, digest in FROST.items())


def _frost_picture(file: Path, digest: str) -> np.ndarray:
    try:
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(
                f"--frost: {file} is not the authors' picture of frost (its SHA-256 is another): take it from "
                "ImageNet-C/create_c of hendrycks/robustness, or from the package imagecorruptions",
                key="--frost",
                value=str(file.parent),
                place=file,
            )
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(
            f"--frost: {file} cannot be read ({error.__class__.__name__}): give the folder with {', '.join(FROST)}",
            key="--frost",
            value=str(file.parent),
            place=file,
        ) from error


def _reduced(picture: np.ndarray) -> np.ndarray:
    """Take every fifth pixel of each row and column, from the third: what linear resizing without smoothing takes."""
    return picture[FROST_SCALE // 2 :: FROST_SCALE, FROST_SCALE // 2 :: FROST_SCALE].astype(float)


def _blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4)


def _sampled(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, mode: str) -> np.ndarray:
    """Interpolate each channel linearly at these places: [h, w, c], [h, w], [h, w] -> [h, w, c]."""
    channels = [ndimage.map_coordinates(x[:, :, i], [rows, columns], order=1, mode=mode) for i in range(x.shape[2])]
    return np.stack(channels, axis=2)


def _zoomed(x: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge the middle of a picture to its size, as `scipy.ndimage.zoom` of order 1 does: [h, w, c] -> [h, w, c]."""
    for axis in (0, 1):
        low, share = _places(x.shape[axis], factor)
        share = share.reshape([-1, 1, 1] if axis == 0 else [-1, 1])
        x = x.take(low, axis) * (1 - share) + x.take(low + 1, axis) * share
    return x


@functools.cache
def _places(size: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where an enlarged line takes its pixels: between these and the next ones, and which share of the next."""
    cut = math.ceil(size / factor)
    enlarged = round(cut * factor)
    first = (enlarged - size) // 2
    places = np.arange(first, first + size) * (cut - 1) / (enlarged - 1)
    low = np.minimum(places.astype(int), cut - 2)
    return low + (size - cut) // 2, places - low


def _moved(x: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """Blur along a line as ImageMagick's MotionBlurImage does: half a Gaussian, whole pixels, edges repeated."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    direction = math.radians(angle)
    down, right = (np.ceil(steps * part - 0.5).astype(int) for part in (math.sin(direction), math.cos(direction)))
    wide = x
    for axis, offsets in ((0, down), (1, right)):
        places = np.arange(offsets.min(), offsets.max() + x.shape[axis])
        wide = wide.take(places.clip(0, x.shape[axis] - 1), axis)
    blurred = np.zeros_like(x)
    for weight, top, left in zip(weights / weights.sum(), down - down.min(), right - right.min(), strict=True):
        blurred += weight * wide[top : top + x.shape[0], left : left + x.shape[1]]
    return blurred


def _plasma(rng: np.random.Generator, side: int, decay: float) -> np.ndarray:
    """Return a random height map by the diamond-square algorithm, its edges joined: float64 [side, side] in 0..1."""
    field, step, wobble = np.zeros((side, side)), side, 100.0

    def wobbled(total: np.ndarray) -> np.ndarray:
        return total / 4 + wobble * rng.uniform(-wobble, wobble, total.shape)

    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        centers = wobbled(pairs + np.roll(pairs, -1, axis=1))
        field[half::step, half::step] = centers
        for axis, edges in enumerate((field[::step, half::step], field[half::step, ::step])):
            edges[:] = wobbled(centers + np.roll(centers, 1, axis) + corners + np.roll(corners, -1, 1 - axis))
        step, wobble = half, wobble / decay
    field -= field.min()
    return field / field.max()
