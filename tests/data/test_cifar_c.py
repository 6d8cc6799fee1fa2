"""The folder of CIFAR-10-C: read as it is, or refused in a line."""

import numpy as np
import pytest

from data import cifar_c
from data.corruptions import CORRUPTIONS, SEVERITIES
from data.dataset import DataError, Split
from tests.support import archives
from tests.support.errors import refuses

LABELS = np.arange(20) % 10
TEST = Split("test set", np.zeros((20, 32, 32, 3), np.uint8), LABELS)


@pytest.fixture
def folder(tmp_path):
    """Twenty pictures, whose levels say corruption, severity and number."""
    for i, name in enumerate(CORRUPTIONS):
        array = np.zeros((SEVERITIES, 20, 32, 32, 3), np.uint8)
        array[..., 0], array[..., 1] = i, np.arange(SEVERITIES)[:, None, None, None] + 1
        array[..., 2] = np.arange(20)[None, :, None, None]
        np.save(tmp_path / f"{name}.npy", array.reshape(-1, 32, 32, 3))
    np.save(tmp_path / "labels.npy", np.tile(LABELS, SEVERITIES).astype(np.uint8))
    return tmp_path


def test_the_pictures_of_a_severity_are_its_rows(folder):
    np.save(folder / "spatter.npy", np.zeros(3))
    found = cifar_c.read(folder, TEST, archives.CLASSES)
    assert found.not_counted == ("spatter",)
    for i, name in enumerate(CORRUPTIONS):
        assert isinstance(found.arrays[name], np.memmap)
        made = found.images(name, 4, np.array([2, 19]))
        assert made[:, 5, 6].tolist() == [[i, 4, 2], [i, 4, 19]]


def test_a_model_may_have_the_classes_in_another_order(folder):
    turned = Split("test set", TEST.images, 9 - LABELS)
    cifar_c.read(folder, turned, archives.CLASSES[::-1])
    with refuses(DataError, key="--data", place=folder / "labels.npy"):
        cifar_c.read(folder, turned, archives.CLASSES)


@pytest.mark.parametrize(
    ("name", "array", "found"),
    [
        ("fog", None, None),
        ("fog", np.zeros((90, 32, 32, 3), np.uint8), "uint8 [90, 32, 32, 3]"),
        ("fog", np.zeros((100, 3, 32, 32), np.uint8), "uint8 [100, 3, 32, 32]"),
        ("fog", np.zeros((100, 32, 32, 3), np.float32), "float32 [100, 32, 32, 3]"),
        ("fog", np.array([{}, None]), None),
        ("fog", b"no array", None),
        ("fog", b"", None),
        ("labels", None, None),
        ("labels", np.zeros(20, np.uint8), "uint8 [20]"),
        ("labels", np.zeros(100), "float64 [100]"),
        ("labels", np.tile(LABELS[::-1], SEVERITIES), 9),
        ("labels", np.tile(LABELS, SEVERITIES) + 256, 256),
    ],
)
def test_another_layout_is_refused(folder, name, array, found):
    file = folder / f"{name}.npy"
    file.unlink()
    if isinstance(array, bytes):
        file.write_bytes(array)
    elif array is not None:
        np.save(file, array, allow_pickle=True)
    with refuses(DataError, key="--data", value=found, place=file):
        cifar_c.read(folder, TEST, archives.CLASSES)


def test_a_cut_off_file_is_refused(folder):
    file = folder / "snow.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with refuses(DataError, key="--data", place=file):
        cifar_c.read(folder, TEST, archives.CLASSES)


def test_a_missing_folder_is_refused(tmp_path):
    with refuses(DataError, key="--data", value=str(tmp_path / "x"), place=tmp_path / "x"):
        cifar_c.read(tmp_path / "x", TEST, archives.CLASSES)
