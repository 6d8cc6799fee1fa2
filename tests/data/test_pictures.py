import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from data import DataError, pictures
from data.pictures import PictureError
from tests.support.errors import refuses

RED, GREEN, BLUE, GREY = (200, 40, 40), (40, 200, 40), (40, 40, 200), (120, 120, 120)
WHITE = (255, 255, 255)
ORIENTATION = 0x0112
# How a camera in this orientation stores an upright picture.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def quarters(colours=(RED, GREEN, BLUE, GREY), height=32, width=48, dtype=np.uint8):
    """An array whose quarters have four colors, or levels of gray."""
    of_each = np.array(colours, dtype).reshape(2, 2, -1)
    return of_each.repeat(height // 2, axis=0).repeat(width // 2, axis=1).squeeze()


def colours_of(picture):
    """The colors in the middle of a picture's quarters."""
    height, width = picture.shape[:2]
    return picture[height // 4 :: height // 2, width // 4 :: width // 2].reshape(4, 3)


def saved(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def png(rows, depth, colour_type, *chunks):
    """A PNG of an array's big-endian rows [H, bytes], for kinds that Pillow does not write."""
    height = len(rows)
    width = rows.shape[1] * 8 // depth // {0: 1, 2: 3}[colour_type]
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    content = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(inside)) + name + inside + struct.pack(">I", zlib.crc32(name + inside))
        for name, inside in content
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def in_16_bits(colours):
    """Rows of bytes of quarters with colors or levels of 16 bits."""
    return quarters(colours, dtype=">u2").reshape(32, -1).view(np.uint8)


def with_alpha(mode):
    """Quarters of which the second is transparent and the fourth half so, over black."""
    image = Image.fromarray(np.dstack([quarters(), quarters([255, 0, 255, 128])]))
    return image if mode == "RGBA" else image.convert(mode)


PICTURE = Image.fromarray(quarters())
OTHER = Image.new("RGB", (48, 32), "yellow")
COLOURS = [RED, GREEN, BLUE, GREY]
GREYS = [[round(0.299 * r + 0.587 * g + 0.114 * b)] * 3 for r, g, b in COLOURS]
BITS = [0, 255, 255, 0]
LEVELS = [0, 0x1280, 0x8080, 0xFFFF]
PALETTE = PICTURE.quantize(4)
IN_PALETTE = PALETTE.getpixel((30, 5))  # of the green quarter
KINDS = {
    "WebP": (saved(PICTURE, "WEBP", lossless=True), COLOURS),
    "WebP with transparency": (
        saved(with_alpha("RGBA"), "WEBP", lossless=True, exact=True),
        [RED, WHITE, BLUE, [187] * 3],
    ),
    "animated WebP: its first": (
        saved(PICTURE, "WEBP", lossless=True, save_all=True, append_images=[OTHER]),
        COLOURS,
    ),
    "BMP": (saved(PICTURE, "BMP"), COLOURS),
    "GIF with a transparent colour": (saved(PALETTE, "GIF", transparency=IN_PALETTE), [RED, WHITE, BLUE, GREY]),
    "animated GIF: its first": (saved(PALETTE, "GIF", save_all=True, append_images=[OTHER]), COLOURS),
    "JPEG": (saved(PICTURE, "JPEG"), COLOURS),
    "progressive JPEG": (saved(PICTURE, "JPEG", progressive=True), COLOURS),
    "grey JPEG": (saved(PICTURE.convert("L"), "JPEG"), GREYS),
    "CMYK JPEG, inverted as by Adobe": (saved(PICTURE.convert("CMYK"), "JPEG"), COLOURS),
    "MPO: its first": (saved(PICTURE, "MPO", save_all=True, append_images=[OTHER]), COLOURS),
    "PNG 1": (saved(Image.fromarray(quarters(BITS)).convert("1"), "PNG"), [[v] * 3 for v in BITS]),
    "PNG L": (saved(PICTURE.convert("L"), "PNG"), GREYS),
    "PNG LA": (saved(with_alpha("LA"), "PNG"), [GREYS[0], WHITE, GREYS[2], [187] * 3]),
    "PNG P": (saved(PALETTE, "PNG"), COLOURS),
    "PNG P with a transparent color": (saved(PALETTE, "PNG", transparency=IN_PALETTE), [RED, WHITE, BLUE, GREY]),
    "PNG P with an alpha per color": (
        saved(PALETTE, "PNG", transparency=bytes(0 if i == IN_PALETTE else 255 for i in range(4))),
        [RED, WHITE, BLUE, GREY],
    ),
    "PNG RGB": (saved(PICTURE, "PNG"), COLOURS),
    "PNG RGB with a transparent color": (saved(PICTURE, "PNG", transparency=GREEN), [RED, WHITE, BLUE, GREY]),
    "PNG RGBA": (saved(with_alpha("RGBA"), "PNG"), [RED, WHITE, BLUE, [187] * 3]),
    "animated PNG: its first": (saved(PICTURE, "PNG", save_all=True, append_images=[OTHER]), COLOURS),
    "16-bit gray PNG": (png(in_16_bits(LEVELS), 16, 0), [[v >> 8] * 3 for v in LEVELS]),
    "16-bit gray PNG with a transparent level": (
        png(in_16_bits(LEVELS), 16, 0, (b"tRNS", struct.pack(">H", LEVELS[1]))),
        [[0] * 3, WHITE, [0x80] * 3, WHITE],
    ),
    "16-bit RGB PNG": (png(in_16_bits(np.array(COLOURS) * 257), 16, 2), COLOURS),
}


@pytest.fixture(autouse=True)
def no_warnings():
    """A warning would be two lines on the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def write(tmp_path):
    def write(content, name="picture.jpg"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_has_its_colours(kind, write):
    content, expected = KINDS[kind]
    picture = pictures.read(write(content))
    assert picture.dtype == np.uint8
    assert picture.shape == (32, 48, 3)
    np.testing.assert_allclose(colours_of(picture), expected, atol=3 if content[:2] == b"\xff\xd8" else 1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "MPO"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_gives_the_upright_picture(orientation, format, write):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = PICTURE if STORED[orientation] is None else PICTURE.transpose(STORED[orientation])
    options = {"save_all": True, "append_images": [OTHER]} if format == "MPO" else {}
    picture = pictures.read(write(saved(turned, format, exif=exif, **options)))
    assert picture.shape == (32, 48, 3)
    np.testing.assert_allclose(colours_of(picture), COLOURS, atol=3)


def test_odd_exif_data_is_neither_refused_nor_warned_about(write):
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 9, "maker" * 9
    content = saved(PICTURE, "JPEG", exif=exif)
    at = content.index(b"maker") - 20
    assert pictures.read(write(content)).shape == (32, 48, 3)
    assert pictures.read(write(content[:at] + b"\xff" * 12 + content[at + 12 :])).shape == (32, 48, 3)


NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8))
NOISY_PNG, NOISY_JPEG = saved(NOISE, "PNG"), saved(NOISE, "JPEG")


def chunk(name, inside, spoilt=0):
    return struct.pack(">I", len(inside)) + name + inside + struct.pack(">I", zlib.crc32(name + inside) ^ spoilt)


HUGE = zlib.compress(bytes(1_500_000))
METADATA = {
    "iCCP of 1.5 MB": chunk(b"iCCP", b"x\0\0" + HUGE),
    "iTXt of 1.5 MB": chunk(b"iTXt", b"x\0\1\0\0\0" + HUGE),
    "zTXt of 1.5 MB": chunk(b"zTXt", b"x\0\0" + HUGE),
    "texts of 75 MB": b"".join(chunk(b"zTXt", b"x%d\0\0" % i + zlib.compress(bytes(1_000_000))) for i in range(75)),
    "a short pHYs": chunk(b"pHYs", b"x"),
    "a short acTL": chunk(b"acTL", b"x"),
    "a tRNS of another colour type": chunk(b"tRNS", b"x"),
    "a tEXt with a wrong checksum": chunk(b"tEXt", b"a\0b", spoilt=1),
}


@pytest.mark.parametrize("what", METADATA)
@pytest.mark.parametrize("behind", [False, True])
def test_metadata_of_a_png_does_not_decide_whether_it_is_read(what, behind, write):
    content, begin = KINDS["PNG RGB"][0], 33
    at = content.index(b"IEND") - 4 if behind else begin
    picture = pictures.read(write(content[:at] + METADATA[what] + content[at:]))
    np.testing.assert_array_equal(picture, quarters())


@pytest.mark.parametrize("what", ["iTXt of 1.5 MB", "a short pHYs"])
def test_metadata_hides_no_damage_of_pixels(what, write):
    spoilt = altered(NOISY_PNG, NOISY_PNG.index(b"IDAT") + 500)
    for content in (spoilt, NOISY_PNG[:-12], NOISY_PNG[: len(NOISY_PNG) // 2]):
        file = write(content[:33] + METADATA[what] + content[33:])
        with refuses(PictureError, place=file) as caught:
            pictures.read(file)
        assert "damaged" in str(caught.value)


def with_gps(orientation, format):
    """A picture whose EXIF data have a GPS altitude of -5 as a signed rational, where unsigned ones are specified."""
    gps, altitude = 8 + 2 + 2 * 12 + 4, 8 + 2 + 2 * 12 + 4 + 2 + 12 + 4
    tiff = b"II*\0" + struct.pack("<IH", 8, 2)
    tiff += (
        struct.pack("<HHIHH", ORIENTATION, 3, 1, orientation, 0) + struct.pack("<HHII", 0x8825, 4, 1, gps) + bytes(4)
    )
    tiff += struct.pack("<HHHIII", 1, 6, 10, 1, altitude, 0) + struct.pack("<ii", -5, 1)
    turned = PICTURE if STORED[orientation] is None else PICTURE.transpose(STORED[orientation])
    return saved(turned, format, exif=b"Exif\0\0" + tiff)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_is_turned_by_its_orientation_whatever_else_exif_says(format, orientation, write):
    picture = pictures.read(write(with_gps(orientation, format)))
    assert picture.shape == (32, 48, 3)
    np.testing.assert_allclose(colours_of(picture), COLOURS, atol=4)


def test_orientation_counts_where_other_metadata_had_to_be_left_out(write):
    content = with_gps(6, "PNG")
    picture = pictures.read(write(content[:33] + METADATA["zTXt of 1.5 MB"] + content[33:]))
    np.testing.assert_array_equal(colours_of(picture), COLOURS)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_another_decoder_reads_whole_pictures_that_pillow_refuses(format, write, monkeypatch):
    """And only whole ones: it would fill what is missing with gray."""
    monkeypatch.setattr(pictures, "_by_pillow", lambda *what: (_ for _ in ()).throw(OSError("odd")))
    content = with_gps(6, format)
    np.testing.assert_allclose(colours_of(pictures.read(write(content))), COLOURS, atol=4)
    for damaged in (content[:-20], content[: len(content) // 2]):
        with refuses(PictureError):
            pictures.read(write(damaged))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 32 // 2 - 1)
    with refuses(PictureError) as caught:
        pictures.read(write(content))
    assert "too large" in str(caught.value)


def test_levels_in_the_low_bits_are_scaled_if_sbit_says_how_many_there_are(write):
    levels = [0, 130, 515, 1023]
    expected = [[level * 255 / 1023] * 3 for level in levels]
    faint = []
    for bits, rows in ((10, in_16_bits(levels)), (10, in_16_bits([level << 6 for level in levels]))):
        picture = pictures.decode(png(rows, 16, 0, (b"sBIT", bytes([bits]))), "a", faint)
        np.testing.assert_allclose(colours_of(picture), expected, atol=1)
    colours = np.array(COLOURS) * 4 + 1  # of 10 bits
    for shift in (0, 6):
        content = png(in_16_bits(colours << shift), 16, 2, (b"sBIT", bytes([10, 10, 10])))
        np.testing.assert_allclose(colours_of(pictures.decode(content, "a", faint)), COLOURS, atol=1)
    assert faint == []


def test_levels_that_use_a_small_part_of_the_range_are_noted_once(write, caplog, monkeypatch):
    monkeypatch.setattr(pictures, "_warned", set())
    content = png(in_16_bits([0, 130, 515, 1023]), 16, 0)
    for _ in range(2):
        assert pictures.read(write(content)).max() == 3
    colours = png(in_16_bits(np.array(COLOURS) * 4), 16, 2)
    faint = []
    assert pictures.decode(colours, "colours.png", faint).max() == 3
    assert faint == [("colours.png", 800)]
    for bright in (KINDS["16-bit gray PNG"][0], KINDS["16-bit RGB PNG"][0], png(in_16_bits([0] * 4), 16, 0)):
        pictures.decode(bright, "b", faint)
    assert len(faint) == 1
    assert len(caplog.messages) == 1
    assert all(word in caplog.messages[0] for word in ("picture.jpg", "1,023", "sBIT"))


def altered(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not a picture"),
        (b"a text, in spite of its name", "not a picture"),
        (saved(NOISE, "TIFF"), "TIFF"),
        (b"<!DOCTYPE html><p>not found", "HTML"),
        (NOISY_JPEG[: len(NOISY_JPEG) // 2], "damaged"),
        (NOISY_JPEG[:-2], "damaged"),
        (NOISY_PNG[: len(NOISY_PNG) // 2], "damaged"),
        (NOISY_PNG[:-12], "damaged"),
        (altered(NOISY_PNG, NOISY_PNG.index(b"IDAT") + 500), "damaged"),
        (altered(NOISY_PNG, len(NOISY_PNG) - 13), "damaged"),  # in a checksum
    ],
)
def test_a_file_that_is_not_a_whole_picture_is_refused_with_the_reason(content, word, write):
    file = write(content, "photo.png")
    with refuses(PictureError, place=file) as caught:
        pictures.read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert word in str(caught.value)


def test_no_altered_byte_is_more_than_a_damaged_picture(write):
    """Pillow can raise anything, for example at a number in EXIF data where it expects text."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "maker"
    small, rng = Image.fromarray(quarters(height=4, width=4)), np.random.RandomState(0)
    for content in (saved(small, "JPEG", exif=exif), saved(small, "PNG", exif=exif), KINDS["MPO: its first"][0]):
        for _ in range(300):
            damaged = bytearray(content)
            for at in rng.randint(0, min(len(content), 300), 3):
                damaged[at] = rng.randint(256)
            try:
                assert pictures.read(write(bytes(damaged))).shape[2] == 3
            except DataError:
                pass


@pytest.mark.parametrize("error", [AttributeError, struct.error, TypeError, MemoryError, ZeroDivisionError])
def test_an_error_of_any_kind_in_pillow_is_a_damaged_picture(error, write, monkeypatch):
    monkeypatch.setattr(pictures, "_as_rgb", lambda image: (_ for _ in ()).throw(error("odd")))
    file = write(KINDS["JPEG"][0])
    with refuses(PictureError, place=file) as caught:
        pictures.read(file)
    assert "(odd)" in str(caught.value)


@pytest.mark.parametrize(("pixels", "refused"), [(1, False), (1.5, False), (2.1, True)])
def test_a_large_picture_is_read_without_a_warning_and_a_huge_one_refused(pixels, refused, write, monkeypatch):
    """Pillow would warn above its limit and refuse above twice that."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(48 * 32 / pixels))
    file = write(KINDS["JPEG"][0])
    if not refused:
        assert pictures.read(file).shape == (32, 48, 3)
        return
    with refuses(PictureError, place=file) as caught:
        pictures.read(file)
    assert "1,462 pixels" in str(caught.value)


def test_files_that_cannot_be_opened_are_distinguished(tmp_path, write, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    def check(file, word):
        with refuses(PictureError, place=file) as caught:
            pictures.read(file)
        assert word in str(caught.value)

    check(tmp_path / "none.png", "no such picture")
    check(tmp_path, "not a file")
    check("a" * 5000, "File name too long")
    file = write(b"")
    monkeypatch.setattr(pictures.Path, "read_bytes", refuse)
    check(file, "Permission denied")


def test_a_folder_stands_for_its_pictures_by_name(tmp_path):
    names = ["b.JPG", "a.png", "-c.jpeg", "line\nbreak.png", "日本.png", "d.webp", "e.bmp", "f.gif"]
    for name in [*names, "notes.txt", "._b.jpg", "png"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "inside.png").touch()
    (tmp_path / "link.png").symlink_to("nowhere")
    given = ["one.gif", str(tmp_path), "a" * 5000, tmp_path / "folder.png"]
    found, notes = pictures.find(given)
    inside = [tmp_path / name for name in sorted([*names, "link.png"])]  # the link leads nowhere: to be named
    assert list(map(str, found)) == [*map(str, ["one.gif", *inside, "a" * 5000, tmp_path / "folder.png/inside.png"])]
    assert len(notes) == 1
    assert all(word in notes[0] for word in (str(tmp_path), "folder.png/", "notes.txt", "png,"))
    assert "._b.jpg" not in notes[0]


def test_a_folder_without_pictures_or_not_readable_is_refused(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").touch()
    with refuses(DataError, place=tmp_path) as caught:
        pictures.find([tmp_path])
    assert "no pictures" in str(caught.value)

    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    with refuses(DataError, place=tmp_path) as caught:
        pictures.find([tmp_path])
    assert "Permission denied" in str(caught.value)


def test_a_picture_of_the_data_sets_size_stays_as_it_is():
    picture = np.asarray(NOISE)[:32, :32]
    np.testing.assert_array_equal(pictures.to_side(picture, 32), picture)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 200), (200, 96), (33, 64), (32, 300), (300, 32)])
def test_other_pictures_become_their_middle_square(height, width):
    short = min(height, width)
    picture = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - short) // 2, (width - short) // 2
    picture[top : top + short, left : left + short] = quarters(height=short + short % 2, width=short + short % 2)[
        :short, :short
    ]
    made = pictures.to_side(picture, 32)
    assert made.shape == (32, 32, 3)
    np.testing.assert_array_equal(colours_of(made), COLOURS)
    assert made.max() == 200


def test_reducing_averages_areas():
    picture = np.asarray(NOISE)
    means = picture.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(pictures.to_side(picture, 16), means, atol=0.51)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (2, 60000), (60000, 31), (31, 33)])
def test_pictures_of_any_shape_are_taken(height, width, write):
    picture = pictures.read(write(saved(Image.new("RGB", (width, height), RED), "PNG")))
    made = pictures.to_side(picture, 32)
    np.testing.assert_array_equal(made, np.broadcast_to(np.array(RED), (32, 32, 3)))
