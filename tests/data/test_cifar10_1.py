"""CIFAR-10.1: new pictures for models of CIFAR-10, to evaluate on only."""

import hashlib

import numpy as np
import pytest

import data
import train as train_script
from data import cifar10_1
from data.dataset import DataError
from engine.config import build
from engine.config.load import load_config
from engine.errors import UserError
from tests.support import archives
from tests.support.errors import one_line_about, refuses
from tests.support.runs import MICRO, arguments, script

COUNTS = {"cifar10.1_v4": 2021, "cifar10.1_v6": 2000}


def write(folder, stem="cifar10.1_v6", images=None, labels=None):
    """Write the two files of a version; return `data.file`."""
    count = COUNTS[stem]
    colour = (np.arange(count) % 256).astype(np.uint8)[:, None, None, None]
    images = np.broadcast_to(colour, (count, 32, 32, 3)) if images is None else images
    np.save(folder / f"{stem}_data.npy", images)
    np.save(folder / f"{stem}_labels.npy", (np.arange(count) % 10).astype(np.int32) if labels is None else labels)
    return folder / f"{stem}_data.npy"


@pytest.mark.parametrize("stem", COUNTS)
def test_the_pictures_are_a_split_to_evaluate_on(tmp_path, stem):
    file = write(tmp_path, stem)
    dataset = data.load(file, "cifar10.1", val_only=True)
    assert (len(dataset.train), len(dataset.val)) == (0, COUNTS[stem])
    assert dataset.classes == archives.CLASSES
    assert dataset.val.labels.dtype == np.int64
    assert (dataset.val.labels[13], dataset.val.images[13, 5, 5].tolist()) == (3, [13, 13, 13])
    assert dataset.md5 == hashlib.md5(file.read_bytes()).hexdigest()
    assert not dataset.official


def test_labels_are_those_of_the_models_classes(tmp_path):
    file = write(tmp_path)
    dataset = data.load(file, "cifar10.1", classes=["none", *archives.CLASSES[::-1]])
    assert (dataset.val.labels == 10 - np.arange(2000) % 10).all()
    with refuses(DataError, key="data.file", value="truck", place=file):
        data.load(file, "cifar10.1", classes=archives.CLASSES[:-1])


def test_official_files_are_known_by_the_id_that_git_gives_them(tmp_path, monkeypatch):
    """The first one is what `git hash-object` prints for the line hello."""
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert cifar10_1._git_id(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"
    file = write(tmp_path)
    ids = [cifar10_1._git_id(tmp_path / f"cifar10.1_v6_{kind}.npy") for kind in ("data", "labels")]
    for changed in ("", "data", "labels"):
        version = cifar10_1.Version(2000, *("x" if kind == changed else i for kind, i in zip(("data", "labels"), ids)))  # noqa: B905
        monkeypatch.setitem(cifar10_1.VERSIONS, "cifar10.1_v6", version)
        assert data.load(file, "cifar10.1").official == (not changed)


IMAGES = np.zeros((2000, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("part", "changes", "value"),
    [
        ("data", {"images": IMAGES[:-1]}, "uint8 [1999, 32, 32, 3]"),
        ("data", {"images": IMAGES.astype(np.float32)}, "float32 [2000, 32, 32, 3]"),
        ("data", {"images": np.array([{}, None])}, None),
        ("labels", {"labels": np.zeros(2001, np.int32)}, "int32 [2001]"),
        ("labels", {"labels": np.zeros(2000)}, "float64 [2000]"),
        ("labels", {"labels": np.full(2000, 10)}, 10),
        ("labels", {"labels": np.full(2000, -1)}, -1),
    ],
)
def test_another_layout_is_refused(tmp_path, part, changes, value):
    file = write(tmp_path, **changes)
    with refuses(DataError, key="data.file", value=value, place=tmp_path / f"cifar10.1_v6_{part}.npy"):
        data.load(file, "cifar10.1")


@pytest.mark.parametrize("name", ["", "cifar10.1_v6_labels.npy", "cifar10.1_v5_data.npy", "cifar-10-python.tar.gz"])
def test_another_file_is_refused(tmp_path, name):
    write(tmp_path)
    with refuses(DataError, key="data.file", place=tmp_path / name):
        data.load(tmp_path / name, "cifar10.1")


@pytest.mark.parametrize("part", ["data", "labels"])
def test_a_missing_file_is_refused(tmp_path, part):
    file, missing = write(tmp_path), tmp_path / f"cifar10.1_v6_{part}.npy"
    missing.unlink()
    with refuses(DataError, key="data.file", place=missing):
        data.load(file, "cifar10.1")


def test_nobody_trains_on_it(tmp_path, monkeypatch, capsys):
    file, output = write(tmp_path), tmp_path / "run"
    with pytest.raises(SystemExit) as exit:
        script(monkeypatch, train_script.main, *arguments(file, output, "data.name=cifar10.1"))
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "data.name: cifar10.1", "eval.py")
    assert not (output / "best_model.pdparams").exists()


def test_it_has_no_pictures_to_hold_out_and_one_side(tmp_path):
    settings = [f"data.file={write(tmp_path)}", "data.name=cifar10.1"]
    with refuses(UserError, key="data.holdout", value=10):
        build.build_dataset(load_config(MICRO, [*settings, "data.holdout=10"]), val_only=True)
    with refuses(UserError, key="data.side", value=40):
        build.build_dataset(load_config(MICRO, [*settings, "data.side=40"]), val_only=True)
    config = load_config(MICRO, [*settings, "model.num_classes=0"])
    assert len(build.build_dataset(config, val_only=True).val) == 2000
    assert config.model.num_classes == 10
