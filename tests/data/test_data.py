import os
import pickle
import random

import numpy as np
import paddle
import pytest
from paddle.vision import transforms as T

import data
from data import safe_pickle
from data.evaluation import EvaluationPictures
from data.normalise import MEAN, STD, normalise, unnormalise
from tests.support import archives, notebook
from tests.support.errors import refuses


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members())


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_archive_gives_the_pictures_labels_and_classes_that_went_in(tmp_path, protocol):
    content = archives.members(train=52, test=7)
    dataset = data.load(archives.write(tmp_path / "a.tar.gz", content, protocol))
    assert dataset.classes == archives.CLASSES
    assert (len(dataset.train), len(dataset.val)) == (52, 7)
    row = content["data_batch_2"][b"data"][3]  # the first two batches have 11 pictures each
    assert dataset.train.images.shape == (52, 32, 32, 3)
    np.testing.assert_array_equal(dataset.train.images[11 + 3], row.reshape(3, 32, 32).transpose(1, 2, 0))
    assert dataset.train.labels[11 + 3] == content["data_batch_2"][b"labels"][3]


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def labels(*values):
    return archives.batch(len(values), 0, labels=list(values))


@pytest.mark.parametrize(
    ("changes", "key", "value", "word"),
    [
        ({"data_batch_3": None}, "data_batch_3", None, "data_batch_1"),
        ({"batches.meta": {b"label_names": "no"}}, "label_names", None, "batches.meta"),
        ({"test_batch": b"garbage"}, "test_batch", None, "pickle"),
        ({"test_batch": pickle.dumps(archives.batch(5, 0))[:-9]}, "test_batch", None, "pickle"),
        ({"test_batch": [1, 2]}, "test_batch", "list", "dictionary"),
        ({"test_batch": labels(0, 1, 10, 2)}, "labels", 10, "row 2"),
        ({"test_batch": labels(0, -1, 1, 2)}, "labels", -1, "row 1"),
        ({"test_batch": archives.batch(4, 0, labels=[0, 1, 2])}, "labels", "int64 [3]", "4 integers"),
        ({"test_batch": labels(0.5, 1.0)}, "labels", "float64 [2]", "2 integers"),
        ({"test_batch": labels([1], [2, 3], 0, 1)}, "labels", "object []", "4 integers"),
        (
            {"test_batch": archives.batch(4, 0, data=np.zeros([4, 3072]))},
            "data",
            "float64 [4, 3072]",
            "uint8 [N, 3072]",
        ),
        ({"test_batch": archives.batch(4, 0, data=np.zeros([4, 9], "uint8"))}, "data", "uint8 [4, 9]", "[N, 3072]"),
        ({"test_batch": archives.batch(0, 0)}, "test_batch", None, "no pictures"),
        ({"test_batch": {b"data": Call(os.system, "touch pwned")}}, "test_batch", None, "posix.system"),
        ({"test_batch": {b"data": Call(eval, "1")}}, "test_batch", None, "builtins.eval"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_spoilt_archive_is_refused_in_one_line(tmp_path, monkeypatch, changes, key, value, word):
    monkeypatch.chdir(tmp_path)
    archives.write("a.tar.gz", archives.members(**changes))
    with refuses(data.DataError, key=key, value=value, place="a.tar.gz") as caught:
        data.load("a.tar.gz")
    message = str(caught.value)
    assert message.startswith("a.tar.gz")
    assert key in message
    assert word in message
    assert os.listdir() == ["a.tar.gz"]


@pytest.mark.parametrize(
    "spoil", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:-8], lambda raw: b"some text", lambda raw: b""]
)
def test_an_archive_that_is_not_whole_is_refused(tmp_path, archive, spoil):
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(spoil(archive.read_bytes()))
    with refuses(data.DataError, place=bad) as caught:
        data.load(bad)
    assert caught.value.key in ("data.file", "data_batch_1")  # of an empty file the members are missing


def test_a_missing_archive_says_how_to_get_it(tmp_path):
    with refuses(data.DataError, key="data.file", place=tmp_path / "none.tar.gz") as caught:
        data.load(tmp_path / "none.tar.gz")
    assert "tools/get_cifar10.py" in str(caught.value)


def test_a_restricted_pickle_decodes_no_bytes_by_a_codec_of_its_choice():
    import codecs
    import io

    with pytest.raises(safe_pickle.PickleRefused, match="rot13"):
        safe_pickle.load(io.BytesIO(pickle.dumps(Call(codecs.encode, "a", "rot13"))))


def test_holdout_takes_training_pictures_of_one_fixed_permutation(archive):
    whole, held = data.load(archive), data.load(archive, holdout=30)
    assert (len(held.train), len(held.val)) == (70, 30)
    rows = {image.tobytes() for image in held.train.images} | {image.tobytes() for image in held.val.images}
    assert rows == {image.tobytes() for image in whole.train.images}
    np.testing.assert_array_equal(held.val.images, data.load(archive, holdout=30).val.images)
    assert not np.array_equal(held.val.images, whole.train.images[:30])  # not simply the first ones


def test_holding_out_everything_is_refused(archive):
    with refuses(data.DataError, key="data.holdout", value=100, place=archive):
        data.load(archive, holdout=100)


def batches(loader, epoch):
    loader.batch_sampler.set_epoch(epoch)
    images, labels = zip(*((x.numpy(), y.numpy()) for x, y in loader), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def train_loader(archive, num_workers=0, seed=42, batch_size=8):
    split = data.load(archive).train
    return data.build_train_loader(split, batch_size=batch_size, image_size=40, num_workers=num_workers, seed=seed)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_picture_depends_on_seed_epoch_and_index_only(archive, num_workers):
    alone, workers = train_loader(archive), train_loader(archive, num_workers)
    for epoch in (1, 0):
        for a, b in zip(batches(alone, epoch), batches(workers, epoch), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_same_picture_differs_between_epochs_seeds_and_indices(archive):
    dataset, other = train_loader(archive).dataset, train_loader(archive, seed=43).dataset
    twice = [dataset[0, 5][0] for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    assert not np.array_equal(twice[0], dataset[1, 5][0])
    assert not np.array_equal(twice[0], other[0, 5][0])


def test_the_order_differs_between_epochs_and_seeds(archive):
    def order(seed, epoch):
        sampler = train_loader(archive, seed=seed).batch_sampler
        sampler.set_epoch(epoch)
        return [index for batch in sampler for _, index in batch]

    assert order(42, 0) == order(42, 0)
    assert order(42, 0) != order(42, 1)
    assert order(42, 0) != order(43, 0)


def test_augmentation_leaves_the_global_generators_alone(archive):
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(1)
    batches(train_loader(archive), 0)
    assert (random.random(), np.random.rand()) == expected


def test_training_drops_the_partial_batch_and_sees_no_picture_twice(archive):
    loader = train_loader(archive, batch_size=8)
    assert len(loader) == 12
    keys = [key for batch in loader.batch_sampler for key in batch]
    assert len(set(keys)) == 96


def test_a_training_set_smaller_than_a_batch_is_refused(archive):
    with refuses(data.DataError, key="data.batch_size", value=101):
        train_loader(archive, batch_size=101)


def test_evaluation_sees_every_picture_once_in_order(archive):
    split = data.load(archive).val
    loader = data.build_eval_loader(split, batch_size=8, image_size=32, num_workers=2)
    images, labels = zip(*((x.numpy(), y.numpy()) for x, y in loader), strict=True)
    assert [len(part) for part in labels] == [8, 8, 4]
    np.testing.assert_array_equal(np.concatenate(labels), split.labels)
    np.testing.assert_array_equal(unnormalise(np.concatenate(images)), split.images)


@pytest.mark.parametrize("size", [32, 41, 224])
def test_evaluation_equals_paddles_transforms(size):
    images = np.random.RandomState(0).randint(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    made = EvaluationPictures(data.Split("pictures", images, np.arange(2)), size)[1][0]
    resized = T.Resize((size, size))(images[1])
    np.testing.assert_array_equal(made, notebook.normalise(resized))
    # Paddle 2.6 multiplies by 1/255 where 3.x divides: one unit in the last place.
    paddles = T.Compose([T.ToTensor(), T.Normalize(MEAN, STD)])(resized).numpy()
    np.testing.assert_allclose(made, paddles, rtol=0, atol=1e-6)


def test_normalise_is_undone_for_display():
    images = np.random.RandomState(0).randint(0, 256, (3, 8, 9, 3)).astype(np.uint8)
    np.testing.assert_array_equal(unnormalise(normalise(images)), images)


def test_pictures_arrive_as_float32_tensors(archive):
    images, labels = next(iter(train_loader(archive)))
    assert (images.dtype, labels.dtype) == (paddle.float32, paddle.int64)
    assert (images.shape, labels.shape) == ([8, 3, 40, 40], [8])
