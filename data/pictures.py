"""Read picture files of any kind and size as arrays."""

import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .dataset import DataError

FORMATS = ("JPEG", "PNG")  # MPO is a JPEG with more pictures behind it
SUFFIXES = (".jpg", ".jpeg", ".png")


class PictureError(DataError):
    """One picture cannot be read; others may be readable."""


def read(file: str | Path) -> np.ndarray:
    """Read a picture: `decode` of a file's `content`."""
    return decode(content(file), file)


def content(file: str | Path) -> bytes:
    """Return the bytes of a picture's file; PictureError if it is missing or cannot be read."""
    if os.path.exists(file) and not os.path.isfile(file):
        _refuse(file, "not a file, expected a JPEG or PNG")
    try:
        return Path(file).read_bytes()
    except FileNotFoundError:
        _refuse(file, "no such picture")
    except OSError as error:
        _refuse(file, f"not readable ({error.strerror})", error)


def decode(content: bytes, file: str | Path) -> np.ndarray:
    """Decode a JPEG or PNG of any mode, turned upright by its EXIF data, transparency over white.

    Args:
        content: the file's bytes; if they hold several pictures, the first one counts.
        file: the file's name, for errors.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        PictureError: it is damaged, not a picture, or has more pixels than Pillow opens (179 million).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd EXIF data and large sizes: a picture is read or refused
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                image.verify()  # checks a PNG's checksums, which decoding ignores
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                ImageOps.exif_transpose(image, in_place=True)  # otherwise it copies upright pictures
                return np.asarray(_as_rgb(image))
    except UnidentifiedImageError:
        _refuse(file, "not a picture that can be read, expected JPEG or PNG")
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        _refuse(file, f"too large, expected at most {most:,} pixels: make it smaller")
    except Exception as error:  # a damaged file can make Pillow raise anything
        _refuse(file, f"a damaged picture ({error})", error)


def _refuse(file: str | Path, reason: str, cause: Exception | None = None) -> NoReturn:
    raise PictureError(f"{file}: {reason}", place=file) from cause


def find(paths: Iterable[str | Path]) -> list[Path]:
    """Replace folders by the pictures in them, sorted by name.

    Sub-folders and hidden files are left out.

    Raises:
        DataError: a folder contains no pictures, or cannot be read.
    """
    paths = list(paths)
    if "" in map(str, paths):
        raise DataError("a picture without a name: an empty argument", value="")
    found: list[Path] = []
    for path in map(Path, paths):
        found += _in_folder(path) if os.path.isdir(path) else [path]
    return found


def to_side(picture: np.ndarray, side: int) -> np.ndarray:
    """Give a picture a data set's size: its middle square, resized: uint8 [H, W, 3] -> uint8 [side, side, 3].

    A picture of that size is not changed.
    """
    height, width = picture.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = picture[top : top + short, left : left + short]
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if short > side else cv2.INTER_LINEAR)


def _in_folder(folder: Path) -> list[Path]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES) and name[0] != ".")
    except OSError as error:
        raise DataError(f"{folder}: not readable ({error.strerror})", place=folder) from error
    files = [folder / name for name in names if not os.path.isdir(folder / name)]
    if not files:
        raise DataError(
            f"{folder}: no pictures in this folder (its sub-folders are left out), expected files named "
            f"{', '.join(SUFFIXES)}",
            place=folder,
        )
    return files


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow would clip at 255
        levels, transparent = np.asarray(image), image.info.get("transparency")
        grey = (levels >> 8).astype(np.uint8)  # as Pillow reads 16-bit colors
        image = Image.fromarray(np.where(levels == transparent, np.uint8(255), grey))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy an RGB picture
