"""Pictures that stay on disk stand in for an array, and are decoded a batch at a time."""

import weakref

import numpy as np
import pytest

import data
from data import pictures
from data.dataset import Split
from data.on_disk import PicturesOnDisk
from tests.support import archives
from tests.support.errors import refuses


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return archives.write_folder(
        tmp_path_factory.mktemp("data") / "own", [archives.batch(30, 0)], [archives.batch(25, 9)]
    )


@pytest.fixture
def both(folder, monkeypatch):
    """The validation pictures in memory and on disk."""
    in_memory = data.load(folder, "folder", val_only=True, on_disk=True).val  # 77 kB, which is little
    monkeypatch.setattr("data.folder.IN_MEMORY", 25 * 32 * 32 * 3 - 1)
    on_disk = data.load(folder, "folder", val_only=True, on_disk=True).val
    assert type(in_memory.images) is np.ndarray
    assert type(on_disk.images) is PicturesOnDisk
    return in_memory, on_disk


@pytest.mark.parametrize("index", [0, -1, np.int64(3), slice(2, 9), [4, 1, 1], np.arange(25) % 2 == 0], ids=str)
def test_they_are_indexed_as_an_array_is(both, index):
    a, b = (split.images for split in both)
    np.testing.assert_array_equal(np.asarray(b[index]), a[index])
    assert (b.shape, b.dtype, b.nbytes, len(b)) == (a.shape, a.dtype, a.nbytes, len(a))


@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_loaders_give_the_same_batches_and_hold_no_more_than_one(both, pipeline, monkeypatch):
    alive, most = weakref.WeakValueDictionary(), []

    def to_side(picture, side, original=pictures.to_side):
        made = original(picture, side)
        alive[len(most)] = made
        most.append(len(alive))
        return made

    monkeypatch.setattr(pictures, "to_side", to_side)
    expected, found = (
        data.build_eval_loader(split, batch_size=4, image_size=32, num_workers=0, pipeline=pipeline) for split in both
    )
    for (images, labels), (others, same) in zip(expected, found, strict=True):
        np.testing.assert_array_equal(images.numpy(), others.numpy())
        np.testing.assert_array_equal(labels.numpy(), same.numpy())
    assert len(most) == 25
    assert max(most) <= 2 * 4  # host prefetches one


def test_a_picture_that_has_changed_since_it_was_checked_is_named(both, folder):
    file = folder / "val" / "cat" / "000.png"
    before = file.read_bytes()
    try:
        file.write_bytes(before[:100])
        with refuses(pictures.PictureError, place=file):
            np.asarray(both[1].images)
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 30])
def test_shares_are_those_of_array_split(parts):
    split = Split("some", np.arange(25), np.arange(25))
    shares = [split.share(part, parts).labels.tolist() for part in range(parts)]
    assert shares == [share.tolist() for share in np.array_split(np.arange(25), parts)]
