import time

import numpy as np

import data
from data.write import write_cifar10
from tests.support.archives import CLASSES


def pictures(count, seed):
    return np.random.RandomState(seed).randint(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10


def test_an_archive_is_read_again_and_is_the_same_file_whenever_it_is_written(tmp_path, monkeypatch):
    """A run knows its data by the MD5 of the file."""
    train, test = pictures(20, 1), pictures(10, 2)
    write_cifar10(tmp_path / "one" / "a.tar.gz", train, test, CLASSES)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    write_cifar10(tmp_path / "b.tar.gz", train, test, CLASSES)
    one, two = (data.load(tmp_path / name) for name in ("one/a.tar.gz", "b.tar.gz"))
    assert one.md5 == two.md5
    np.testing.assert_array_equal(one.train.images, train[0])
    np.testing.assert_array_equal(one.val.labels, test[1])
