"""Separate what the pixels of a PNG or JPEG need from the metadata around them, which may be odd, damaged or huge."""

import struct
import zlib
from collections.abc import Iterator

JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
EXIF = b"Exif\0\0"  # what a JPEG writes before EXIF data
TRANSPARENCY = {0: (2,), 2: (6,), 3: range(1, 257)}  # valid lengths of a PNG's tRNS, by color type
# The first bytes of formats that are not read, after an offset, for messages.
OTHER_FORMATS = (
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<!doctype html", "HTML"),
    (0, b"<html", "HTML"),
)


def other_format(content: bytes) -> str | None:
    """Return the name of the format of a file that is not read, if its first bytes say it."""
    begin = content[:64].lower()
    return next((name for at, magic, name in OTHER_FORMATS if begin.startswith(magic.lower(), at)), None)


def pixels_only(content: bytes) -> bytes:
    """Return a PNG without its ancillary chunks but tRNS, or a JPEG without EXIF data, profiles and comments.

    None of them changes a pixel as Pillow decodes it. Content of other formats, or in disorder, is returned as it is.
    """
    if content.startswith(PNG):
        kept, end = [PNG], len(PNG)
        for kind, begin, end in _chunks(content):
            if not kind[0] & 32 or (kind == b"tRNS" and end - begin - 12 in TRANSPARENCY.get(content[25], ())):
                kept.append(content[begin:end])
        return b"".join([*kept, content[end:]])
    if content.startswith(JPEG):
        kept, end = [JPEG], len(JPEG)
        for marker, begin, end in _segments(content):
            # APP0 and APP14 say how colors are coded; all others, and comments, are metadata.
            if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
                kept.append(content[begin:end])
        return b"".join([*kept, content[end:]])
    return content


def exif(content: bytes) -> bytes:
    """Return the EXIF data of a PNG or JPEG, b"" if there are none."""
    if content.startswith(PNG):
        return next((content[begin + 8 : end - 4] for kind, begin, end in _chunks(content) if kind == b"eXIf"), b"")
    if content.startswith(JPEG):
        parts = (content[begin + 4 : end] for marker, begin, end in _segments(content) if marker == 0xE1)
        return next((part for part in parts if part.startswith(EXIF)), b"")
    return b""


def size(content: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG or JPEG from its header, None if there is none."""
    if content.startswith(PNG) and len(content) >= 24:
        return struct.unpack_from(">II", content, 16)
    if content.startswith(JPEG):
        for marker, begin, end in _segments(content):
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and end - begin >= 9:
                height, width = struct.unpack_from(">HH", content, begin + 5)
                return width, height
    return None


def is_whole(content: bytes) -> bool:
    """Return whether a PNG or JPEG is complete, and a PNG's checksums right, so that a lenient decoder will do."""
    if content.startswith(PNG):
        chunks = list(_chunks(content))
        right = (
            zlib.crc32(content[begin + 4 : end - 4]) == struct.unpack_from(">I", content, end - 4)[0]
            for _, begin, end in chunks
        )
        return bool(chunks) and chunks[-1][0] == b"IEND" and all(right)
    return content.startswith(JPEG) and b"\xff\xda" in content and content.rstrip(b"\0").endswith(b"\xff\xd9")


def depth(content: bytes) -> int:
    """Return the bits per sample of a PNG; 8 for other formats."""
    return content[24] if content.startswith(PNG) and len(content) > 24 else 8


def significant_bits(content: bytes) -> tuple[int, ...] | None:
    """Return a PNG's sBIT, the significant bits of each channel, or None."""
    for kind, begin, end in _chunks(content):
        if kind == b"sBIT" and 1 <= end - begin - 12 <= 4:
            bits = tuple(content[begin + 8 : end - 4])
            return bits if all(0 < count <= content[24] for count in bits) else None
    return None


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, begin and end of each whole chunk of a PNG."""
    at = len(PNG)
    while at + 12 <= len(png):
        end = at + 12 + struct.unpack_from(">I", png, at)[0]
        if end > len(png):
            return
        kind = png[at + 4 : at + 8]
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, begin and end of each whole segment before a JPEG's pixels."""
    at = len(JPEG)
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
        if marker == 0xDA or end > len(jpeg) or end < at + 4:
            return
        yield marker, at, end
        at = end
