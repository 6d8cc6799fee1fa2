"""Pictures in files of any kind and size, as the arrays that the rest works on."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .cifar10 import DataError

SUFFIXES = (".jpg", ".jpeg", ".png")


def read(file):
    """Read a JPEG or PNG of any mode, turned as its EXIF data says, transparency over white.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: the file is missing, damaged, or no picture.
    """
    try:
        with Image.open(file) as image:
            return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError:
        raise DataError(f"{file}: no such picture") from None
    except UnidentifiedImageError:
        raise DataError(f"{file}: not a picture that can be read, expected JPEG or PNG") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's, for damaged files
        raise DataError(f"{file}: a damaged picture ({error})") from error


def find(paths):
    """Return files in place of folders: the pictures that lie in them, in the order of their names.

    Raises:
        DataError: a folder has no pictures.
    """
    found = []
    for path in map(Path, paths):
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: no pictures in this folder, expected files named {', '.join(SUFFIXES)}")
        found += inside
    return found


def to_side(picture, side):
    """Make a picture what those of a data set are: its middle square, reduced to a side: -> uint8 [side, side, 3].

    A picture that has that size already stays as it is.
    """
    height, width = picture.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = picture[top : top + short, left : left + short]
    if short == side:
        return square
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if short > side else cv2.INTER_LINEAR)


def _as_rgb(image):
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
