"""Pictures in files of any kind and size, as the arrays that the rest works on."""

import io
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .dataset import DataError

FORMATS = ("JPEG", "PNG")  # MPO is a JPEG with more pictures behind it
SUFFIXES = (".jpg", ".jpeg", ".png")


class PictureError(DataError):
    """One picture cannot be read; others may be."""


def read(file):
    """Read a picture: `decode` of a file's `content`."""
    return decode(content(file), file)


def content(file):
    """Return the bytes of a picture's file; PictureError if it is missing or cannot be read."""
    if os.path.exists(file) and not os.path.isfile(file):
        raise PictureError(f"{file}: not a file, expected a JPEG or PNG")
    try:
        return Path(file).read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{file}: no such picture") from None
    except OSError as error:
        raise PictureError(f"{file}: not readable ({error.strerror})") from error


def decode(content, file):
    """Decode a JPEG or PNG of any mode, turned as its EXIF data says, transparency over white.

    Args:
        content: bytes; of several pictures in them it is the first.
        file: how errors call it.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        PictureError: it is damaged, no picture, or has more pixels than Pillow opens (179 million).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd EXIF data and large sizes: a picture is read or refused
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                image.verify()  # the check sums of a PNG, at which decoding does not look
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                ImageOps.exif_transpose(image, in_place=True)  # else it copies what is not to be turned
                return np.asarray(_as_rgb(image))
    except UnidentifiedImageError:
        raise PictureError(f"{file}: not a picture that can be read, expected JPEG or PNG") from None
    except Image.DecompressionBombError:
        most = 2 * Image.MAX_IMAGE_PIXELS
        raise PictureError(f"{file}: too large, expected at most {most:,} pixels: make it smaller") from None
    except Exception as error:  # a damaged file can make Pillow stumble over anything
        raise PictureError(f"{file}: a damaged picture ({error})") from error


def find(paths):
    """Return files in place of folders: the pictures that lie in them, in the order of their names.

    Sub-folders and hidden files are left out.

    Raises:
        DataError: a folder has no pictures, or cannot be read.
    """
    if "" in map(str, paths):
        raise DataError("a picture without a name: an empty argument")
    found = []
    for path in map(Path, paths):
        found += _in_folder(path) if os.path.isdir(path) else [path]
    return found


def to_side(picture, side):
    """Make a picture what those of a data set are: its middle square, reduced to a side: -> uint8 [side, side, 3].

    A picture that has that size already stays as it is.
    """
    height, width = picture.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = picture[top : top + short, left : left + short]
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if short > side else cv2.INTER_LINEAR)


def _in_folder(folder):
    try:
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES) and name[0] != ".")
    except OSError as error:
        raise DataError(f"{folder}: not readable ({error.strerror})") from error
    files = [folder / name for name in names if not os.path.isdir(folder / name)]
    if not files:
        raise DataError(
            f"{folder}: no pictures in this folder (its sub-folders are left out), expected files named "
            f"{', '.join(SUFFIXES)}"
        )
    return files


def _as_rgb(image):
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would cut off at 255
        levels, transparent = np.asarray(image), image.info.get("transparency")
        grey = (levels >> 8).astype(np.uint8)  # as Pillow reads 16-bit colours
        image = Image.fromarray(np.where(levels == transparent, np.uint8(255), grey))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
