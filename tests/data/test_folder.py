"""Pictures in class sub-folders, and CIFAR-100: reading, checks, and everything that a run does with them."""

import hashlib
import json
import os
import pickle
import re
import runpy
import shutil
import signal
import sys
import time
import warnings

import cv2
import numpy as np
import paddle
import pytest
from matplotlib.figure import Figure
from PIL import Image

import data
import eval as eval_script
from data import Augmentation, augment, fast, folder as folders, pictures
from engine.benchmark import subjects
from engine.config import build
from engine.config.load import flatten, load_config
from engine.errors import UserError
from engine.filenames import CONFIG
from engine.inference import trained as trained_models
from engine.weights import pdparams
from tests.support import archives
from tests.support.device import DEVICE
from tests.support.drawing import blank_figures
from tests.support.errors import one_line_about, refuses
from tests.support.runs import (
    MICRO,
    ROOT,
    assert_same_weights,
    points,
    resume,
    script,
    send_signal_in,
    train,
)

CLASSES = sorted(archives.CLASSES)
FOLDER = ROOT / "configs" / "micro_folder.yaml"
OF_A_FOLDER = ("data.name=folder", "data.side=32")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of 100 pictures to train on and 20 to validate on."""
    return archives.of("folder", tmp_path_factory.mktemp("data"))


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of it to change."""
    return shutil.copytree(whole, tmp_path / "pictures")


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same pictures, in the archive with a picture of each class after the other: an archive, and a folder."""
    place, content = tmp_path_factory.mktemp("twins"), archives.members()
    batches = [content[name] for name in archives.BATCHES]
    return (
        archives.write(place / "cifar.tar.gz", content),
        archives.write_folder(place / "pictures", batches, [content["test_batch"]]),
    )


def test_a_folder_gives_the_first_picture_of_each_class_then_the_second_of_each(folder):
    (folder / "train" / "dog" / "009.png").unlink()
    dataset = data.load(folder, "folder")
    assert dataset.classes == CLASSES
    assert (len(dataset.train), len(dataset.val)) == (99, 20)
    assert dataset.train.images.shape == (99, 32, 32, 3)
    assert dataset.train.labels[:12].tolist() == [*range(10), 0, 1]
    assert dataset.train.labels[-9:].tolist() == [i for i in range(10) if i != CLASSES.index("dog")]
    for split, name in ((dataset.train, "train"), (dataset.val, "val")):
        files = sorted((folder / name).glob("*/*.png"), key=lambda file: (file.name, file.parent.name))
        np.testing.assert_array_equal(split.images, [np.asarray(Image.open(file)) for file in files])


@pytest.mark.parametrize("side", [16, 48])
def test_pictures_of_any_size_are_kept_as_their_middle_square(folder, side):
    wide = np.random.RandomState(0).randint(0, 256, (40, 90, 3)).astype(np.uint8)
    Image.fromarray(wide).save(folder / "train" / "cat" / "000.png")
    split = data.load(folder, "folder", side=side).train
    middle = wide[:, 25:65]
    how = cv2.INTER_AREA if side < 40 else cv2.INTER_LINEAR
    found = split.images[CLASSES.index("cat")]
    np.testing.assert_array_equal(found, cv2.resize(middle, (side, side), interpolation=how))
    assert split.images.shape == (100, side, side, 3)


def test_what_systems_leave_in_folders_is_left_out(folder):
    md5 = data.load(folder, "folder").md5
    for name in (".DS_Store", "train/.DS_Store", "train/cat/.hidden.png", "train/cat/Thumbs.db", "val/desktop.ini"):
        (folder / name).write_text("junk", encoding="utf-8")
    (folder / "notes.txt").write_text("beside train and val anything may lie", encoding="utf-8")
    assert data.load(folder, "folder").md5 == md5


def test_links_are_followed(whole, tmp_path):
    linked = tmp_path / "linked"
    (linked / "train").mkdir(parents=True)
    (linked / "val").symlink_to(whole / "val")
    for place in (whole / "train").iterdir():
        if place.name != "cat":
            (linked / "train" / place.name).symlink_to(place)
    (linked / "train" / "cat").mkdir()
    for file in (whole / "train" / "cat").iterdir():
        (linked / "train" / "cat" / file.name).symlink_to(file)
    assert data.load(linked, "folder").md5 == data.load(whole, "folder").md5


def test_the_folders_md5_is_that_of_what_md5sum_prints(folder):
    files = sorted(str(file.relative_to(folder)) for file in folder.glob("*/*/*.png"))
    lines = [f"{hashlib.md5((folder / file).read_bytes()).hexdigest()}  {file}\n" for file in files]
    dataset = data.load(folder, "folder")
    assert dataset.md5 == hashlib.md5("".join(lines).encode()).hexdigest()
    assert not dataset.official
    assert data.load(shutil.move(folder, folder.with_name("moved")), "folder").md5 == dataset.md5


def test_holdout_needs_no_validation_folder_and_holds_out_what_it_does_of_an_archive(twins, tmp_path):
    archive, whole = twins
    alone = shutil.copytree(whole, tmp_path / "alone")
    shutil.rmtree(alone / "val")
    of_archive, of_folder = data.load(archive, holdout=30), data.load(alone, "folder", holdout=30)
    for a, b in ((of_archive.train, of_folder.train), (of_archive.val, of_folder.val)):
        assert a.name == b.name
        np.testing.assert_array_equal(a.images, b.images)
        assert [of_archive.classes[label] for label in a.labels] == [of_folder.classes[label] for label in b.labels]
    with refuses(data.DataError, key="data.holdout", value=100, place=alone):
        data.load(alone, "folder", holdout=100)


@pytest.mark.parametrize("name", ["folder", "cifar10"])
def test_holdout_leaves_each_class_something_to_train_on(name, tmp_path):
    file = archives.of(name, tmp_path)
    classes = CLASSES if name == "folder" else archives.CLASSES
    assert len(set(data.load(file, name, holdout=50).train.labels)) == 10
    with refuses(data.DataError, key="data.holdout", value=95, place=file) as caught:
        data.load(file, name, holdout=95)
    assert set(str(caught.value).split()) & set(classes)  # the class that would have none


@pytest.mark.parametrize("holdout", [0, 30])
def test_where_only_val_is_asked_for_the_training_pictures_are_not_decoded(whole, monkeypatch, holdout):
    both = data.load(whole, "folder", holdout)
    decoded = []
    monkeypatch.setattr(pictures, "decode", lambda *what, of=pictures.decode: decoded.append(what[1]) or of(*what))
    alone = data.load(whole, "folder", holdout, val_only=True)
    np.testing.assert_array_equal(alone.val.images, both.val.images)
    np.testing.assert_array_equal(alone.val.labels, both.val.labels)
    assert (alone.md5, alone.classes, len(alone.train)) == (both.md5, both.classes, 0)
    assert len(decoded) == len(both.val)


def spoil(folder, change):
    """Change a folder; `change` is a line of Python about `train` and `val`."""
    names = {"folder": folder, "train": folder / "train", "val": folder / "val", "shutil": shutil, "os": os}
    exec(change, {**names, "Image": Image})


ONE_PIXEL = "Image.new('RGB', (1, 1)).save"


@pytest.mark.parametrize(
    ("change", "where", "word"),
    [
        ("shutil.rmtree(folder)", "", "not found"),
        ("shutil.rmtree(folder); folder.touch()", "", "not a folder"),
        ("shutil.rmtree(train)", "train", "no such folder"),
        ("shutil.rmtree(val)", "val", "data.holdout=N"),
        ("shutil.rmtree(val); val.touch()", "val", "data.holdout=N"),
        ("shutil.rmtree(val); val.mkdir()", "val", "data.holdout=N"),
        ("os.symlink('nowhere', val / 'x')", "val/x", "link"),
        ("shutil.rmtree(train); train.mkdir()", "train", "no folders"),
        ("[shutil.rmtree(train / x) for x in os.listdir(train) if x != 'cat']", "train", "(cat)"),
        ("shutil.rmtree(val / 'cat')", "val/cat", "train/cat"),
        ("shutil.rmtree(val / 'cat'); (val / 'cat').mkdir()", "val/cat", "no pictures"),
        ("shutil.rmtree(train / 'cat'); (train / 'cat').mkdir()", "train/cat", "no pictures"),
        ("(val / 'cat').rename(val / 'cats'); (val / 'dog').rename(val / 'cat')", "val/dog", "missing"),
        ("shutil.copytree(val / 'cat', val / 'cats')", "val/cats", "class"),
        ("(train / 'cat' / '000.png').write_text('no')", "train/cat/000.png", "not a picture"),
        ("(train / 'cat' / '000.png').write_bytes(b'')", "train/cat/000.png", "not a picture"),
        ("os.truncate(val / 'cat' / '001.png', 1000)", "val/cat/001.png", "damaged"),
        ("os.symlink('nowhere', val / 'cat' / 'x.jpg')", "val/cat/x.jpg", "no such picture"),
        ("os.symlink('x.jpg', val / 'cat' / 'x.jpg')", "val/cat/x.jpg", "not readable"),
        ("os.mkfifo(val / 'cat' / 'x.jpg')", "val/cat/x.jpg", "not a file"),
        ("(train / 'cat' / 'notes.txt').touch()", "train/cat/notes.txt", ".jpg"),
        ("(train / 'cat' / 'more').mkdir()", "train/cat/more", "inside"),
        (f"{ONE_PIXEL}(train / 'loose.png')", "train/loose.png", "beside"),
    ],
)
def test_a_folder_that_is_not_in_order_is_refused_in_one_line_that_names_the_place(folder, change, where, word):
    spoil(folder, change)
    with refuses(data.DataError, key="data.file", place=folder / where) as caught:
        data.load(folder, "folder")
    assert f"{folder / where}" in str(caught.value)
    assert word in str(caught.value)


@pytest.mark.parametrize("split", ["train", "val"])
def test_classes_that_only_look_the_same_are_distinguished(folder, split):
    """macOS takes letters apart (NFD) that other systems compose (NFC)."""
    composed, apart = "caf\u00e9", "cafe\u0301"
    for name in ("train", "val"):
        (folder / name / "cat").rename(folder / name / (apart if name == split else composed))
    of_val = apart if split == "val" else composed
    with refuses(data.DataError, place=folder / "val" / of_val) as caught:
        data.load(folder, "folder")
    assert "NFC" in str(caught.value)


def test_a_picture_may_be_named_in_capitals(folder):
    for split in ("train", "val"):
        Image.new("RGB", (32, 32)).save(folder / split / "cat" / "0.JPG", "JPEG")
        Image.new("RGB", (32, 32)).save(folder / split / "cat" / "1.Png", "PNG")
    dataset = data.load(folder, "folder")
    assert (len(dataset.train), len(dataset.val)) == (102, 22)


def test_all_broken_pictures_are_named_in_order(folder, monkeypatch):
    """In order, which is not the order in which they are found."""

    def content(file, read=pictures.content):
        time.sleep(0.1 if file.parts[-3:] == ("train", "cat", "001.png") else 0)
        return read(file)

    monkeypatch.setattr(pictures, "content", content)
    monkeypatch.setattr(folders.os, "sched_getaffinity", lambda process: range(4), raising=False)
    names = ["train/cat/001.png", "train/dog/003.png", "val/cat/000.png"]
    for name in reversed(names):
        (folder / name).write_text("no picture", encoding="utf-8")
    with refuses(data.DataError, key="data.file", place=folder / names[0]) as caught:
        data.load(folder, "folder")
    places = [str(caught.value).index(f"{folder / name}: not a picture") for name in names]
    assert places == sorted(places)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [str(folder / name) for name in names]


@pytest.mark.parametrize("count", [20, 23])
def test_more_than_20_problems_are_listed_in_a_file(folder, tmp_path, monkeypatch, count):
    monkeypatch.chdir(tmp_path)
    broken = sorted((folder / "train").glob("*/00[0-4].png"))[:count]
    for file in broken:
        file.write_text("no picture", encoding="utf-8")
    config = load_config(MICRO, [f"data.file={folder}", *(f"{setting}" for setting in OF_A_FOLDER)])
    with refuses(data.DataError, key="data.file") as caught:
        build.build_dataset(config)
    listed = tmp_path / build.PROBLEMS
    assert sum(f"{file}: " in str(caught.value) for file in broken) == 20
    assert listed.exists() == (build.PROBLEMS in str(caught.value)) == (count > 20)
    if count > 20:
        assert sorted(line.split(": ")[0] for line in listed.read_text(encoding="utf-8").splitlines()) == list(
            map(str, broken)
        )


def test_all_places_that_are_out_of_order_are_named(folder):
    for name in ("train/cat/notes.txt", "train/dog/more.tiff", "train/loose.png"):
        (folder / name).touch()
    (folder / "train" / "dog" / "inside").mkdir()
    with refuses(data.DataError, place=folder / "train/cat/notes.txt") as caught:
        data.load(folder, "folder")
    assert len(caught.value.problems) == 4
    shutil.rmtree(folder / "train")
    shutil.copytree(folder / "val", folder / "train")
    for name in ("cat", "dog"):
        (folder / "val" / name).rename(folder / "val" / f"{name}s")
    with refuses(data.DataError, place=folder / "val/cat") as caught:
        data.load(folder, "folder")
    assert len(caught.value.problems) == 4


def test_pictures_of_all_formats_are_read_whatever_their_suffix(folder):
    place = folder / "val" / "cat"
    picture = Image.open(place / "000.png").convert("RGB").quantize()
    for format, name in (("GIF", "a.jpg"), ("BMP", "b.jpg"), ("WEBP", "c.jpg"), ("WEBP", "d.webp"), ("GIF", "e.gif")):
        picture.convert("RGB" if format != "GIF" else "P").save(
            place / name, format, **({"lossless": True} if format == "WEBP" else {})
        )
    dataset = data.load(folder, "folder")
    cats = dataset.val.images[dataset.val.labels == CLASSES.index("cat")][2:]
    assert len(cats) == 5
    for image in cats:
        np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))


def test_a_test_set_alone_is_measured_with_the_classes_of_a_model(whole, folder):
    """train/ is missing, classes are fewer, or the model has them in another order."""
    order = ["truck", "cat", "zebra", "dog", *sorted(set(CLASSES) - {"truck", "cat", "dog"})]
    both = data.load(whole, "folder")
    for name in CLASSES:
        if name not in ("cat", "dog", "truck"):
            shutil.rmtree(folder / "val" / name)
    of_both = data.load(folder, "folder", val_only=True, classes=order)
    shutil.rmtree(folder / "train")
    of_val = data.load(folder, "folder", val_only=True, classes=order)
    for found in (of_both, of_val):
        assert found.classes == order
        assert (len(found.train), found.val.labels.tolist()) == (0, [0, 1, 3, 0, 1, 3])
        for label, name in ((0, "truck"), (1, "cat"), (3, "dog")):
            expected = both.val.images[both.val.labels == CLASSES.index(name)]
            np.testing.assert_array_equal(found.val.images[found.val.labels == label], expected)
    assert of_both.md5 != of_val.md5
    assert data.load(folder, "folder", val_only=True).classes == ["cat", "dog", "truck"]
    with refuses(data.DataError, place=folder / "train"):
        data.load(folder, "folder")
    with refuses(data.DataError, place=folder / "train"):
        data.load(folder, "folder", 5, val_only=True)
    with refuses(data.DataError, place=folder / "val" / "cat") as caught:
        data.load(folder, "folder", val_only=True, classes=["dog", "lion"])
    assert [str(folder / "val" / name) in str(caught.value) for name in ("cat", "dog", "truck")] == [True, False, True]


def test_an_archive_is_measured_with_the_classes_of_a_model(tmp_path):
    file = archives.of("cifar10", tmp_path)
    own, order = data.load(file), [*reversed(archives.CLASSES), "zebra"]
    found = data.load(file, classes=order)
    for a, b in ((own.train, found.train), (own.val, found.val)):
        np.testing.assert_array_equal(a.images, b.images)
        assert [own.classes[label] for label in a.labels] == [order[label] for label in b.labels]
    assert (found.classes, found.md5) == (order, own.md5)
    with refuses(data.DataError, key="label_names", value="airplane", place=file):
        data.load(file, classes=archives.CLASSES[1:])


def test_names_that_are_composed_differently_are_one_class_of_a_model(folder):
    (folder / "val" / "cat").rename(folder / "val" / "cafe\u0301")
    classes = ["caf\u00e9" if name == "cat" else name for name in CLASSES]
    found = data.load(folder, "folder", val_only=True, classes=classes)
    assert sorted(set(found.val.labels)) == list(range(10))


@pytest.mark.parametrize("name", ["folder", "cifar10"])
def test_validation_pictures_that_are_also_trained_on_are_noted(name, tmp_path):
    file = archives.of(name, tmp_path)
    assert data.load(file, name).notes == ()
    if name == "folder":
        shutil.copy(file / "train" / "cat" / "003.png", file / "val" / "dog" / "001.png")
    else:
        content = archives.members()
        content["data_batch_2"][b"data"][3] = content["test_batch"][b"data"][17]
        archives.write(file, content)
    (note,) = data.load(file, name).notes
    assert note.startswith("1 of 20 ")


def test_a_folder_without_permission_to_read_is_refused(folder, monkeypatch):
    def refused(place):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders.os, "listdir", refused)
    with refuses(data.DataError, place=folder / "train") as caught:
        data.load(folder, "folder")
    assert "Permission denied" in str(caught.value)


def test_pictures_that_memory_cannot_hold_are_refused_before_they_are_read(whole, monkeypatch):
    needed = 120 * 32 * 32 * 3
    monkeypatch.setattr(folders, "_memory", lambda: needed)
    assert len(data.load(whole, "folder").train) == 100
    monkeypatch.setattr(folders, "_memory", lambda: needed - 1)
    assert len(data.load(whole, "folder", val_only=True).val) == 20
    monkeypatch.setattr(pictures, "content", None)
    with refuses(data.DataError, key="data.side", value=32, place=whole):
        data.load(whole, "folder")
    monkeypatch.undo()
    assert 1e9 < folders._memory() < 1e14
    with refuses(data.DataError, key="data.side", value=4_000_000, place=whole) as caught:
        data.load(whole, "folder", side=4_000_000)
    assert "5,760,000.0 GB" in str(caught.value)


def test_a_containers_limit_is_its_memory(tmp_path, monkeypatch):
    machine = folders._memory()
    (tmp_path / "limit").write_text("1000\n", encoding="utf-8")
    (tmp_path / "none").write_text("max\n", encoding="utf-8")
    monkeypatch.setattr(folders, "LIMITS", [tmp_path / "none", tmp_path / "missing"])
    assert folders._memory() >= machine
    monkeypatch.setattr(folders, "LIMITS", [tmp_path / "none", tmp_path / "limit"])
    assert folders._memory() == 1000


def test_names_in_any_bytes_are_read_and_shown(folder):
    odd = os.fsdecode(b"caf\xe9")
    for split in ("train", "val"):
        (folder / split / "cat").rename(folder / split / odd)
    dataset = data.load(folder, "folder")
    assert dataset.classes[3] == r"caf\xe9"
    assert len(dataset.train) == 100
    shutil.rmtree(folder / "val" / odd)
    with refuses(data.DataError, place=folder / "val" / odd):
        data.load(folder, "folder")


def test_threads_leave_the_filters_of_warnings_as_they_were(whole):
    before = list(warnings.filters)
    data.load(whole, "folder")
    assert warnings.filters == before


def test_cifar100_gives_its_fine_classes(tmp_path):
    content = archives.members_of_100(train=200, test=100)
    dataset = data.load(archives.write(tmp_path / "a.tar.gz", content), "cifar100")
    assert dataset.classes[37] == "thing 37"
    assert len(dataset.classes) == 100
    assert dataset.train.labels.tolist() == content["train"][b"fine_labels"]
    row = content["test"][b"data"][7]
    np.testing.assert_array_equal(dataset.val.images[7], row.reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("changes", "key", "value", "word"),
    [
        ({"train": None}, "train", None, "train, test, meta"),
        ({"meta": {b"label_names": ["a", "b"]}}, "fine_label_names", None, "meta"),
        ({"test": archives.batch(3, 0)}, "fine_labels", "object []", "3 integers"),
        ({"test": archives.batch(1, 0, fine_labels=[100])}, "fine_labels", 100, "0 to 99"),
        ({"test": pickle.dumps(os.system)}, "test", None, "tools/get_cifar100.py"),
    ],
)
def test_a_spoilt_archive_of_cifar100_is_refused_by_its_own_names(tmp_path, changes, key, value, word):
    file = archives.write(tmp_path / "a.tar.gz", {**archives.members_of_100(), **changes})
    with refuses(data.DataError, key=key, value=value, place=file) as caught:
        data.load(file, "cifar100")
    assert word in str(caught.value)


def test_data_under_the_name_of_another_data_set_are_refused(whole, tmp_path):
    of_10, of_100 = (archives.of(name, tmp_path) for name in ("cifar10", "cifar100"))
    for file, name, key, value, cure in (
        (of_10, "cifar100", "data.name", "cifar100", "data.name=cifar10"),
        (of_100, "cifar10", "data.name", "cifar10", "data.name=cifar100"),
        (whole, "cifar10", "data.file", None, "data.name=folder"),
        (of_10, "folder", "data.file", None, "train/<class>/"),
        (tmp_path / "none", "cifar100", "data.file", None, "tools/get_cifar100.py"),
    ):
        with refuses(data.DataError, key=key, value=value, place=file) as caught:
            data.load(file, name)
        assert cure in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["data.side=64"], ["data.side", "64", "cifar10"]),
        (["data.name=folder", "data.download=true"], ["data.download", "data.name", "folder"]),
        (["data.name=folder", "model.num_classes=3"], ["model.num_classes", "3", "10"]),
    ],
)
def test_options_that_do_not_go_together_are_refused(whole, overrides, parts):
    with refuses(UserError) as caught:
        build.build_dataset(load_config(MICRO, [f"data.file={whole}", *overrides]))
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize("name", ["folder", "cifar10"])
def test_classes_are_counted_unless_the_config_says_how_many(name, folder, tmp_path):
    shutil.rmtree(folder / "train" / "cat")
    shutil.rmtree(folder / "val" / "cat")
    file, count = (folder, 9) if name == "folder" else (archives.of("cifar10", tmp_path), 10)
    settings = [f"data.file={file}", f"data.name={name}", "data.image_size=32"]
    config = load_config(FOLDER, settings)
    with paddle.LazyGuard():
        assert build.build_model(config).num_classes == count
    assert len(build.build_dataset(config).classes) == config.model.num_classes == count
    with refuses(UserError, key="model.num_classes", value=7, place=file):
        build.build_dataset(load_config(FOLDER, [*settings, "model.num_classes=7"]))
    with refuses(UserError, key="model.num_classes", value=0, place="nowhere"):
        build.build_model(load_config(FOLDER, [*settings, "data.file=nowhere"]))


def test_weights_under_a_config_that_counts_say_how_many_classes_they_have(trained):
    config = load_config(FOLDER, ["data.file=nowhere", f"device={DEVICE}"])
    assert trained_models.load(trained["folder"] / "best_model.pdparams", config).config.model.num_classes == 10


@pytest.mark.parametrize(
    ("overrides", "side"),
    [
        ([], 32),
        (["data.image_size=224"], 32),
        (["data.side=32"], 32),
        (["data.name=folder", "data.image_size=224"], 224),
        (["data.name=folder", "data.image_size=224", "data.side=256"], 256),
    ],
)
def test_the_side_that_pictures_have(overrides, side):
    assert build.side(load_config(MICRO, overrides)) == side


@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_the_same_pictures_as_archive_and_as_folder_make_the_same_batches(twins, pipeline):
    settings = ["data.batch_size=16", "data.rotation=20", "data.jitter=0.2", "data.randaugment=2"]
    made = []
    for file, overrides in zip(twins, ([], OF_A_FOLDER), strict=True):
        config = load_config(MICRO, [f"data.file={file}", f"data.pipeline={pipeline}", *settings, *overrides])
        dataset = build.build_dataset(config)
        loaders = build.build_train_loader(config, dataset), build.build_val_loader(config, dataset)
        made.append([(x.numpy(), labels.numpy()) for loader in loaders for x, labels in loader])
    assert len(made[0]) == 6 + 2
    for (of_archive, labels), (of_folder, labels_too) in zip(*made, strict=True):
        np.testing.assert_array_equal(of_archive, of_folder)
        np.testing.assert_array_equal(labels, labels_too)


@pytest.fixture(scope="module")
def trained(nano, twins, tmp_path_factory):
    """Runs on the twins: {data: output folder}."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch, blank_figures():
        for name, file, overrides in (("archive", twins[0], ()), ("folder", twins[1], OF_A_FOLDER)):
            train(patch, file, place / name, *overrides, "model.num_classes=0")
    return {name: place / name for name in ("archive", "folder")}


def test_the_same_pictures_as_archive_and_as_folder_train_the_same_model(trained):
    for name in ("best_model.pdparams", "final_model.pdparams"):
        assert_same_weights(trained["archive"] / name, trained["folder"] / name)
    assert points(trained["archive"]) == points(trained["folder"])


def test_the_run_records_its_data(trained, twins):
    noted = json.loads((trained["folder"] / "environment.json").read_text(encoding="utf-8"))["archive"]
    assert noted == {
        "name": "folder",
        "file": str(twins[1]),
        "md5": data.load(twins[1], "folder").md5,
        "official": False,
        "classes": CLASSES,
    }
    assert load_config(trained["folder"] / CONFIG).model.num_classes == 10  # counted
    assert "WARNING" not in (trained["folder"] / "train.log").read_text(encoding="utf-8")
    assert "20 to validate on (validation set)" in (trained["folder"] / "train.log").read_text(encoding="utf-8")
    assert "archive" not in (trained["folder"] / "train.log").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def stopped_once(nano, twins, tmp_path_factory):
    """The output folder of a run on the twins' folder that was stopped in its fourth step."""
    output = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch, blank_figures():
        send_signal_in(patch, 3, signal.SIGTERM)
        with pytest.raises(SystemExit):
            train(patch, twins[1], output, *OF_A_FOLDER, "model.num_classes=0")
    return output


@pytest.fixture
def stopped(stopped_once, twins, tmp_path):
    """A copy of that run and of its data, which have another place then: (output folder, data folder)."""
    return shutil.copytree(stopped_once, tmp_path / "run"), shutil.copytree(twins[1], tmp_path / "moved")


def test_a_run_on_a_folder_is_resumed_wherever_the_folder_is(trained, stopped, monkeypatch):
    output, moved = stopped
    with blank_figures():
        resume(monkeypatch, output, "-o", f"data.file={moved}")
    assert_same_weights(output / "final_model.pdparams", trained["folder"] / "final_model.pdparams")
    assert points(output) == points(trained["folder"])


@pytest.mark.parametrize(
    "change",
    [
        "Image.new('RGB', (32, 32)).save(train / 'cat' / '000.png')",
        "(val / 'cat' / '000.png').rename(val / 'cat' / '999.png')",
        "(train / 'dog' / '000.png').unlink()",
    ],
)
def test_a_run_is_not_resumed_when_a_picture_has_changed(stopped, monkeypatch, capsys, change):
    output, moved = stopped
    spoil(moved, change)
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, output, "-o", f"data.file={moved}")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "data.file", moved)


@pytest.mark.parametrize(
    ("change", "before"), [("data.side=16", 32), ("data.name=cifar10", "folder"), ("model.num_classes=3", 10)]
)
def test_options_that_change_the_pictures_may_not_change_on_resume(stopped, monkeypatch, capsys, change, before):
    monkeypatch.setattr(pictures, "content", None)  # it is refused before the pictures are read
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, stopped[0], "-o", change)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *change.split("="), before)


@pytest.mark.slow
def test_a_run_older_than_data_name_is_resumed(trained, twins, tmp_path, monkeypatch):
    """Its config, and its checkpoint's, know neither data.name nor data.side."""
    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        send_signal_in(patch, 3, signal.SIGTERM)
        patch.setattr("engine.training.run.flatten", lambda config, flatten=flatten: older(flatten(config)))
        with pytest.raises(SystemExit):
            train(patch, twins[0], output)
    assert "data.name" not in pdparams.load(output / "latest.pdstates")["about"]["config"]
    config = (output / CONFIG).read_text(encoding="utf-8")
    (output / CONFIG).write_text(re.sub("  (name: cifar10|side: 0)\n", "", config), encoding="utf-8")
    assert (output / CONFIG).read_text(encoding="utf-8").count("\n") == config.count("\n") - 2
    resume(monkeypatch, output)
    assert_same_weights(output / "final_model.pdparams", trained["archive"] / "final_model.pdparams")


def older(flat):
    return {key: value for key, value in flat.items() if key not in ("data.name", "data.side")}


def tool(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")


def test_everything_after_training_works_on_a_folder(trained, twins, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(trained["folder"], tmp_path / "run")
    check_everything_after_training("folder", run, CLASSES, trained, twins, tmp_path, monkeypatch, capsys)


@pytest.mark.slow
def test_everything_after_training_works_on_cifar100(nano, trained, twins, tmp_path, monkeypatch, capsys):
    run, classes = tmp_path / "run", [f"thing {i}" for i in range(100)]
    train(monkeypatch, archives.of("cifar100", tmp_path), run, "data.name=cifar100", "model.num_classes=100")
    check_everything_after_training("cifar100", run, classes, trained, twins, tmp_path, monkeypatch, capsys)


def check_everything_after_training(what, run, classes, trained, twins, tmp_path, monkeypatch, capsys):
    weights, config = run / "best_model.pdparams", run / CONFIG
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, file, **_: file.write(b"PNG") if hasattr(file, "write") else 0
    )
    script(monkeypatch, eval_script.main, "--weights", weights, "--report")
    measured = json.loads((run / "eval.json").read_text(encoding="utf-8"))
    assert measured["classes"] == classes
    assert measured["provenance"]["archive_name"] == what
    report = (run / "report.html").read_text(encoding="utf-8")
    assert measured["provenance"]["archive_md5"] in report
    assert f'<td class="number">{len(classes) - 1}</td><td><span>{classes[-1]}</span></td>' in report
    assert ("official" in report) == (what != "folder")

    files = [twins[1] / "val" / "cat" / "000.png", "val:3"]
    tool(monkeypatch, "predict.py", "--weights", weights, "--json", *files)
    (run / "environment.json").unlink()  # the names then come from the data
    tool(monkeypatch, "predict.py", "--weights", weights, *files)
    captured = capsys.readouterr()
    assert all(any(name in line for name in classes) for line in captured.out.splitlines()[-2:])
    assert "not known" not in captured.err
    tool(monkeypatch, "show_attention.py", "--weights", weights, "val:3")
    tool(monkeypatch, "show_augmentation.py", "-c", config, "--epochs", 1, "--output", tmp_path / "augmentation")
    tool(monkeypatch, "show_augmentation.py", "-c", config, "--appliers", "--output", tmp_path / "augmentation")
    tool(monkeypatch, "compare.py", trained["archive"], run, "--output", tmp_path / "comparison")
    assert "data.name" in (tmp_path / "comparison" / "comparison.md").read_text(encoding="utf-8")


def test_a_file_and_the_same_picture_of_the_data_are_predicted_alike(trained, twins, monkeypatch, capsys):
    same = twins[1] / "val" / CLASSES[0] / "000.png"
    tool(monkeypatch, "predict.py", "--weights", trained["folder"] / "best_model.pdparams", "--json", same, "val:0")
    of_file, of_data = json.loads(capsys.readouterr().out)["predictions"]
    assert of_file["top"] == of_data["top"]


@pytest.mark.parametrize("side", [16, 48])
def test_a_file_becomes_what_the_same_picture_of_the_data_is(twins, side):
    config = load_config(MICRO, [f"data.file={twins[1]}", "data.name=folder", f"data.side={side}"])
    trained = trained_models.Trained(None, None, DEVICE, config, None, None, None)
    file = twins[1] / "val" / CLASSES[1] / "000.png"
    assert trained.picture(file).shape == (side, side, 3)
    np.testing.assert_array_equal(trained.picture(file), trained.picture("val:1"))


LARGE = 96  # side of pictures that are not CIFAR's


@pytest.fixture(scope="module")
def large():
    """Eight smooth pictures, uint8 [8, 96, 96, 3]."""
    noise = np.random.RandomState(0).randint(0, 256, (8, 12, 12, 3)).astype(np.uint8)
    return np.stack([cv2.resize(image, (LARGE, LARGE), interpolation=cv2.INTER_CUBIC) for image in noise])


@pytest.mark.parametrize("size", [64, LARGE, 128])
@pytest.mark.parametrize("applier", ["cv2", "ops"])
def test_the_fast_pipeline_makes_paddle_visions_pictures_of_larger_ones_too(large, applier, size):
    params = augment.sample(np.random.default_rng(5), len(large), LARGE, LARGE)
    assert params.box[:, 2:].max() > 64
    expected = augment.apply_vision(large, params, size).astype(int)
    apply = {"cv2": augment.apply_cv2, "ops": fast._by_ops}[applier]
    made = apply(large, params, size)
    assert np.abs(made - expected).mean() < 1


@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_all_ingredients_work_on_larger_pictures(large, pipeline):
    split = data.Split("training set", large, np.arange(8))
    augmentation = Augmentation(randaugment=2, erasing=1.0)
    settings = {"batch_size": 4, "image_size": 64, "num_workers": 0, "seed": 1, "augmentation": augmentation}
    loader = data.build_train_loader(split, pipeline=pipeline, **settings)
    assert [x.shape for x, _ in loader] == [[4, 3, 64, 64]] * 2


@pytest.mark.parametrize("randaugment", [0, 2])
def test_a_split_too_large_for_the_device_comes_there_batch_by_batch(large, monkeypatch, randaugment):
    split, settings = data.Split("training set", large, np.arange(8)), {"batch_size": 4, "image_size": 64}
    more = {"num_workers": 2, "seed": 1, "augmentation": Augmentation(randaugment=randaugment)}

    def batches():
        loaders = (
            data.build_train_loader(split, pipeline="fast", on_device=True, **settings, **more),
            data.build_eval_loader(split, pipeline="fast", num_workers=0, **settings),
        )
        return loaders, [(x.numpy(), labels.numpy()) for loader in loaders for x, labels in loader]

    (_, expected), _ = batches(), monkeypatch.setattr(fast, "RESIDENT", large.nbytes - 1)
    loaders, found = batches()
    assert loaders[0]._images is None
    assert not loaders[1]._resident
    for (x, a), (y, b) in zip(expected, found, strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a, b)


def test_a_benchmark_without_data_makes_pictures_of_the_side_they_would_have():
    config = load_config(MICRO, ["data.name=folder", "data.file=none", "data.side=64"])
    dataset, what = subjects._dataset(config)
    assert dataset.train.images.shape == (12_500, 64, 64, 3)
    assert what == "12,500 random pictures (there is no none)"


def test_a_benchmark_reads_a_folder(whole):
    dataset, what = subjects._dataset(load_config(MICRO, [f"data.file={whole}", *OF_A_FOLDER]))
    assert (len(dataset.train), what) == (100, str(whole))
