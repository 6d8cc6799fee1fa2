"""Read picture files of any kind and size as arrays."""

import io
import logging
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from . import metadata
from .dataset import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # MPO is a JPEG with more pictures behind it
NAMES = "JPEG, PNG, WebP, BMP or GIF"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
# Files that operating systems put into folders, besides hidden ones.
LEFT_OUT = {"thumbs.db", "desktop.ini"}
SHOWN = 10  # the most names in one line
ORIENTATION = 0x0112  # EXIF's tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FAINT = 4096  # a 16-bit picture whose levels stay below this most likely has 12 bits or fewer
_logger = logging.getLogger(__name__)
_warned: set[str] = set()


class PictureError(DataError):
    """One picture cannot be read; others may be readable."""


def read(file: str | Path) -> np.ndarray:
    """Read a picture: `decode` of a file's `content`. The first faint picture of a process is logged."""
    faint: list[tuple[str, int]] = []
    picture = decode(content(file), file, faint)
    if faint and not _warned:
        _warned.add(str(file))
        _logger.warning("WARNING: %s", about_faint(faint))
    return picture


def about_faint(faint: list[tuple[str, int]]) -> str:
    """Return a line for the log about 16-bit pictures that come out nearly black."""
    file, level = faint[0]
    more = f", and {len(faint) - 1} more" if len(faint) > 1 else ""
    return (
        f"{file}{more}: a 16-bit picture that uses a small part of its range (levels up to {level:,} of 65,535), so it "
        "is nearly black: write the number of its bits into the chunk sBIT, or scale its levels"
    )


def content(file: str | Path) -> bytes:
    """Return the bytes of a picture's file; PictureError if it is missing or cannot be read."""
    if os.path.exists(file) and not os.path.isfile(file):
        _refuse(file, f"not a file, expected a picture: {NAMES}")
    try:
        return Path(file).read_bytes()
    except FileNotFoundError:
        _refuse(file, "no such picture")
    except OSError as error:
        _refuse(file, f"not readable ({error.strerror})", error)


def decode(content: bytes, file: str | Path, faint: list[tuple[str, int]] | None = None) -> np.ndarray:
    """Decode a picture of `FORMATS` in any mode, turned upright by its EXIF orientation, transparency over white.

    Metadata does not decide whether a picture can be read. What Pillow refuses is tried again without it, then by
    OpenCV if the file is complete: OpenCV would fill what is missing with gray.

    Args:
        content: the file's bytes; if they hold several pictures, the first one counts.
        file: the file's name, for errors.
        faint: (file, highest level) is added here if a 16-bit picture uses a small part of its range.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        PictureError: it is damaged, not a picture, or has more pixels than Pillow opens (179 million).
    """
    faint = [] if faint is None else faint
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata and large sizes: a picture is read or refused
            try:
                return _by_pillow(content, content, str(file), faint)
            except Image.DecompressionBombError:
                raise
            except Exception:
                return _without_metadata(content, str(file), faint)
    except UnidentifiedImageError:
        found = metadata.other_format(content)
        what = f"a file in the format {found}, which is not read" if found else "not a picture that can be read"
        _refuse(file, f"{what}, expected {NAMES}" + ": convert it" * bool(found))
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        _refuse(file, f"too large, expected at most {most:,} pixels: make it smaller")
    except Exception as error:  # a damaged file can make Pillow raise anything
        _refuse(file, f"a damaged picture ({error})", error)


def _without_metadata(content: bytes, file: str, faint: list[tuple[str, int]]) -> np.ndarray:
    plain = metadata.pixels_only(content)
    try:
        return _by_pillow(plain, content, file, faint)
    except Image.DecompressionBombError:
        raise
    except Exception:
        if (picture := _by_opencv(plain, content)) is None:
            raise
        return picture


def _by_pillow(content: bytes, original: bytes, file: str, faint: list[tuple[str, int]]) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=FORMATS) as unchecked:
        unchecked.verify()  # checks a PNG's checksums, which decoding ignores
    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        opened.load()
        upright = UPRIGHT.get(_orientation(opened if content is original else None, original))
        image: Image.Image = opened
        if metadata.depth(content) == 16:
            image = _eight_bits(opened, content, metadata.significant_bits(original), file, faint)
        image = _as_rgb(image)
        return np.asarray(image if upright is None else image.transpose(upright))


def _by_opencv(content: bytes, original: bytes) -> np.ndarray | None:
    """Decode what Pillow refuses, None if that fails too or if parts are missing."""
    size = metadata.size(content)
    if size is None or not metadata.is_whole(content):
        return None
    if size[0] * size[1] > 2 * (Image.MAX_IMAGE_PIXELS or 0):
        raise Image.DecompressionBombError
    if (decoded := _raw(content)) is None:
        return None
    image = _as_rgb(Image.fromarray(decoded if decoded.dtype == np.uint8 else (decoded >> 8).astype(np.uint8)))
    upright = UPRIGHT.get(_orientation(None, original))
    return np.asarray(image if upright is None else image.transpose(upright))


def _raw(content: bytes) -> np.ndarray | None:
    """Decode by OpenCV, with all bits -> uint8 or uint16 [H, W] or [H, W, 3 or 4], RGB(A); None if it cannot."""
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if decoded is None or decoded.ndim == 2:
        return decoded
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB if decoded.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _orientation(image: Image.Image | None, content: bytes) -> int:
    """Return the orientation in a picture's metadata, whatever else is wrong there; 1 (upright) if it says none."""
    try:
        if image is None:
            exif = Image.Exif()
            exif.load(metadata.exif(content))
        else:
            exif = image.getexif()
        return int(exif.get(ORIENTATION, 1))
    except Exception:  # any other tag may be odd
        return 1


def _eight_bits(
    image: Image.Image, content: bytes, bits: tuple[int, ...] | None, file: str, faint: list[tuple[str, int]]
) -> Image.Image:
    """Return a 16-bit PNG in 8 bits per channel; `bits` are the significant ones of each channel, if it says so."""
    if image.mode.startswith("I"):  # gray, which Pillow would clip at 255
        levels = np.asarray(image)
        gray = (_of_16_bits(levels, bits, file, faint) >> 8).astype(np.uint8)  # as Pillow reads 16-bit colors
        return Image.fromarray(np.where(levels == image.info.get("transparency"), np.uint8(255), gray))
    channels = np.asarray(image)[..., : 1 if image.mode == "LA" else 3]
    # Pillow keeps the high byte alone, which is enough unless these are all small.
    if int(channels.max()) << 8 >= (1 << max(bits) if bits else FAINT):
        return image
    if (raw := _raw(metadata.pixels_only(content))) is None or raw.ndim == 2:
        return image
    colors, alpha = _of_16_bits(raw[..., :3], bits, file, faint), raw[..., 3:]
    if bits is None:
        return image
    if alpha.size:
        alpha = _of_16_bits(alpha, bits[-1:] if len(bits) in (2, 4) else (16,), file, faint)
    return Image.fromarray((np.concatenate([colors, alpha], axis=2) >> 8).astype(np.uint8))


def _of_16_bits(
    levels: np.ndarray, bits: tuple[int, ...] | None, file: str, faint: list[tuple[str, int]]
) -> np.ndarray:
    """Scale levels that a writer left in the low bits to 16; note those that most likely lie there, but do not say so.

    The PNG specification wants levels in the high bits and their number in sBIT. Not all writers shift them up.
    """
    highest = int(levels.max())
    if bits is None:
        if 0 < highest < FAINT:
            faint.append((file, highest))
        return levels
    count = max(bits)
    if highest >= 1 << count or not (levels & ((1 << (16 - count)) - 1)).any():  # in the high bits, as specified
        return levels
    return levels.astype(np.uint32) * 65535 // ((1 << count) - 1)


def _refuse(file: str | Path, reason: str, cause: Exception | None = None) -> NoReturn:
    raise PictureError(f"{file}: {reason}", place=file) from cause


def find(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Replace folders by the pictures in them, sorted by name.

    Sub-folders, and files that are not named like pictures, are left out; so are hidden files, without a word.

    Returns:
        (pictures, lines for the log about what was left out, one per folder).

    Raises:
        DataError: a folder contains no pictures, or cannot be read.
    """
    paths = list(paths)
    if "" in map(str, paths):
        raise DataError("a picture without a name: an empty argument", value="")
    found: list[Path] = []
    notes: list[str] = []
    for path in map(Path, paths):
        if os.path.isdir(path):
            inside, others = _in_folder(path)
            found += inside
            if others:
                notes.append(f"{path}: skipped {_shown(others)}: not named like pictures ({', '.join(SUFFIXES)})")
        else:
            found.append(path)
    return found, notes


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def to_side(picture: np.ndarray, side: int) -> np.ndarray:
    """Give a picture a data set's size: its middle square, resized: uint8 [H, W, 3] -> uint8 [side, side, 3].

    A picture of that size is not changed.
    """
    height, width = picture.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = picture[top : top + short, left : left + short]
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if short > side else cv2.INTER_LINEAR)


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the pictures in a folder, and the names of everything else there that is not hidden."""
    try:
        names = sorted(name for name in os.listdir(folder) if name[0] != "." and name.lower() not in LEFT_OUT)
    except OSError as error:
        raise DataError(f"{folder}: not readable ({error.strerror})", place=folder) from error
    files, others = [], []
    for name in names:
        if os.path.isdir(folder / name):
            others.append(f"{name}{os.sep}")
        elif name.lower().endswith(SUFFIXES):
            files.append(folder / name)
        else:
            others.append(name)
    if not files:
        raise DataError(
            f"{folder}: no pictures in this folder (its sub-folders are left out), expected files named "
            f"{', '.join(SUFFIXES)}",
            place=folder,
        )
    return files, others


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy an RGB picture
