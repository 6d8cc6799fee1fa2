"""The corruptions made here: strengths as published, pictures that depend on nothing but what is given."""

import zlib

import numpy as np
import pytest
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from scipy import ndimage

from data import distortions
from data.corruptions import CORRUPTIONS, FROST, SEVERITIES, corrupt
from data.dataset import DataError
from tests.support.errors import refuses
from tests.support.pictures import pictures

WITHOUT_FROST = [name for name in CORRUPTIONS if name != FROST]
# `c` of each function in ImageNet-C/create_c/make_cifar_c.py of hendrycks/robustness, as it stands there, and how its
# values become those here.
PUBLISHED = {
    "gaussian_noise": [0.04, 0.06, 0.08, 0.09, 0.10],
    "shot_noise": [500, 250, 100, 75, 50],
    "impulse_noise": [0.01, 0.02, 0.03, 0.05, 0.07],
    "defocus_blur": [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
    "glass_blur": [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    "motion_blur": [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)],
    "zoom_blur": [1.06, 1.11, 1.16, 1.21, 1.26],  # np.arange(1, x, 0.01)
    "snow": [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ],
    "frost": [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    "fog": [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
    "brightness": [0.05, 0.1, 0.15, 0.2, 0.3],
    "contrast": [0.75, 0.5, 0.4, 0.3, 0.15],
    "elastic_transform": [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)],
    "pixelate": [0.95, 0.9, 0.85, 0.75, 0.65],
    "jpeg_compression": [80, 65, 58, 50, 40],
}
# With the published strengths these do not move pixels further at each severity: see docs/en/trust.md.
UNEVEN = {"frost", "elastic_transform", "glass_blur", "motion_blur"}
WITHOUT_DRAWS = ("defocus_blur", "zoom_blur", "brightness", "contrast")


@pytest.fixture
def ice(monkeypatch):
    """Made-up pictures of frost."""
    made = tuple(np.random.RandomState(i).randint(100, 256, (60, 70, 3)).astype(float) for i in range(5))
    monkeypatch.setattr(distortions, "read_frost", lambda folder: made)


def test_the_strengths_are_the_published_ones():
    assert list(CORRUPTIONS) == list(PUBLISHED)
    for name, published in PUBLISHED.items():
        expected = [value if isinstance(value, tuple) else (value,) for value in published]
        if name == "glass_blur":
            expected = [(sigma, times) for sigma, _, times in expected]
        if name == "elastic_transform":
            expected = [tuple(32 * value for value in values) for values in expected]
        assert np.allclose(CORRUPTIONS[name].strengths, expected, rtol=1e-12), name
        assert CORRUPTIONS[name].function.__name__ == name


@pytest.mark.usefixtures("ice")
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_picture_is_the_same_alone_in_a_batch_and_twice(name):
    images, indices = pictures(6), np.array([3, 14, 15, 92, 65, 35])
    for severity in (1, SEVERITIES):
        batch = corrupt(images, name, severity, indices, frost="")
        assert (batch == corrupt(images, name, severity, indices, frost="")).all()
        for i in (0, 5):
            assert (batch[i] == corrupt(images[[i]], name, severity, indices[[i]], frost="")[0]).all()


@pytest.mark.usefixtures("ice")
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_pictures_and_the_strongest_more_than_the_weakest(name):
    images = pictures(40)
    before = images.copy()
    changes = []
    for severity in range(1, SEVERITIES + 1):
        made = corrupt(images, name, severity, range(40), frost="")
        assert (made.dtype, made.shape) == (np.uint8, images.shape)
        changes.append(np.abs(made.astype(float) - images).mean())
    assert (images == before).all()
    assert min(changes) > 0.1
    if name not in UNEVEN:
        assert changes == sorted(changes)
    if name not in ("frost", "elastic_transform"):
        assert changes[-1] > 1.2 * changes[0]


@pytest.mark.usefixtures("ice")
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in WITHOUT_DRAWS])
def test_other_seeds_and_numbers_give_other_pictures_where_something_is_drawn(name):
    drawn = name not in ("pixelate", "jpeg_compression")
    images = pictures(1)
    first, *others = (corrupt(images, name, 3, [index], seed, frost="") for index, seed in ((0, 0), (1, 0), (0, 1)))
    assert [bool((first != other).any()) for other in others] == [drawn, drawn]


@pytest.mark.parametrize(
    ("name", "checksum"),
    [
        ("gaussian_noise", 1042592277),
        ("shot_noise", 952820944),
        ("impulse_noise", 1659539064),
        ("defocus_blur", 3660640199),
        ("glass_blur", 3759466741),
        ("motion_blur", 3205582965),
        ("zoom_blur", 166791047),
        ("snow", 1085371912),
        ("fog", 2691894548),
        ("brightness", 266736529),
        ("contrast", 1056804017),
        ("elastic_transform", 912475704),
        ("pixelate", 3483254888),
        ("jpeg_compression", 1649355479),
    ],
)
def test_the_pictures_are_those_of_older_results(name, checksum):
    """The same bits with numpy 1.26 and 2.4. Another sum means that older results cannot be compared with new ones."""
    made = [corrupt(pictures(4), name, severity, range(4)) for severity in range(1, SEVERITIES + 1)]
    assert zlib.crc32(np.stack(made).tobytes()) == checksum


def test_all_but_frost_have_a_checksum():
    (mark,) = test_the_pictures_are_those_of_older_results.pytestmark
    assert [name for name, _ in mark.args[1]] == WITHOUT_FROST


@pytest.mark.parametrize("factor", [*np.arange(1, 1.26, 0.01), 1.75, 2.25])
def test_zooming_is_scipys(factor):
    picture = np.random.RandomState(0).rand(32, 32, 3)
    cut = int(np.ceil(32 / factor))
    top = (32 - cut) // 2
    large = ndimage.zoom(picture[top : top + cut, top : top + cut], (factor, factor, 1), order=1)
    trim = (len(large) - 32) // 2
    zoomed = distortions._zoomed(picture, factor)
    np.testing.assert_allclose(zoomed, large[trim : trim + 32, trim : trim + 32], atol=1e-12)


def test_motion_blur_draws_a_dot_into_half_a_gaussian():
    """By hand: weights exp(-i^2 / 2) of the pixels to the right, so that a dot leaves a trail to its left."""
    picture = np.zeros((32, 32, 3))
    picture[10, 20] = 1
    moved = distortions._moved(picture, 6, 1, 0)[:, :, 0]
    weights = np.exp(-(np.arange(13) ** 2) / 2)
    np.testing.assert_allclose(moved[10, 8:21], weights[::-1] / weights.sum(), atol=1e-15)
    assert np.count_nonzero(moved) == 13
    up = distortions._moved(picture, 6, 1, 90)[:, :, 0]
    np.testing.assert_allclose(up[:11, 20], (weights / weights.sum())[10::-1], atol=1e-15)
    assert distortions._moved(np.ones((32, 32, 1)), 9, 2.5, -30) == pytest.approx(1)


def test_brightness_raises_the_value_of_hsv():
    picture = pictures(1)[0] / 255
    picture[0, 0] = 0
    hsv = rgb_to_hsv(picture)
    hsv[:, :, 2] = (hsv[:, :, 2] + 0.3).clip(0, 1)
    np.testing.assert_allclose(distortions.brightness(picture, None, 0.3), hsv_to_rgb(hsv), atol=1e-12)


def test_glass_takes_colors_from_above_and_the_left():
    rows, columns = np.mgrid[:32, :32]
    picture = np.stack([rows, columns, rows], axis=2) / 255
    made = np.rint(distortions.glass_blur(picture, np.random.default_rng(0), 0.001, 1) * 255)
    assert {*np.unique(made[2:, 2:, 0] - rows[2:, 2:])} == {-1, 0}
    assert {*np.unique(made[2:, 2:, 1] - columns[2:, 2:])} == {-1, 0}
    assert (made[:2] == picture[:2] * 255).all()


def test_fog_is_a_veil_from_0_to_1_that_keeps_the_brightest_level():
    veil = distortions._plasma(np.random.default_rng(0), 32, 2)
    assert (veil.min(), veil.max(), veil.shape) == (0, 1, (32, 32))
    foggy = distortions.fog(pictures(1)[0] / 255, np.random.default_rng(0), 1.5, 1.75)
    assert foggy.max() <= 1
    assert (distortions.fog(np.zeros((32, 32, 3)), np.random.default_rng(0), 1, 2) == 0).all()


def test_levels_are_rounded():
    assert distortions.levels(np.array([-1, 0, 0.4999 / 255, 0.5001 / 255, 100 / 255, 2])).tolist() == [
        *(0, 0, 0, 1, 100, 255)
    ]


@pytest.mark.parametrize("damage", ["missing", "another"])
def test_frost_wants_the_authors_pictures(tmp_path, damage):
    if damage == "another":
        Image.new("RGB", (200, 200)).save(tmp_path / "frost1.png")
    with refuses(DataError, key="--frost", value=str(tmp_path), place=tmp_path / "frost1.png"):
        corrupt(pictures(1), FROST, 1, [0], frost=str(tmp_path))
