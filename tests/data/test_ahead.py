"""Copies to a GPU wait for nobody. The GPU is imitated: its pinned memory, its copy, and what asks for the device."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

import data
from data import ahead, fast
from data.ahead import one_ahead, upload

PINNED = object()


@pytest.fixture
def copies(monkeypatch):
    """The arguments of the copies to an imitated GPU, which leave the tensors where they are."""
    made, to_tensor = [], paddle.to_tensor

    def imitated(array, *arguments, place=None, **keywords):
        tensor = to_tensor(array, *arguments, **keywords)
        if place is not PINNED:
            return tensor
        return SimpleNamespace(cuda=lambda blocking=True: made.append((tensor.dtype, blocking)) or tensor)

    monkeypatch.setattr(paddle, "CUDAPinnedPlace", lambda: PINNED, raising=False)
    monkeypatch.setattr(paddle, "to_tensor", imitated)
    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    return made


def test_a_gpu_copies_from_pinned_memory_and_nobody_waits(copies):
    array = np.arange(4, dtype=np.uint8)
    assert (upload(array).numpy() == array).all()
    assert copies == [(paddle.uint8, False)]


def test_a_cpu_has_no_pinned_memory(monkeypatch):
    monkeypatch.setattr(paddle, "CUDAPinnedPlace", lambda: pytest.fail("asked for pinned memory"))
    array = np.arange(4, dtype=np.uint8)
    assert (upload(array).numpy() == array).all()


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_each_batch_is_made_before_the_one_before_it_is_used(count):
    made = []
    batches = (made.append(i) or i for i in range(count))
    used = []
    for batch in one_ahead(batches):
        used.append(batch)
        assert made == list(range(min(count, batch + 2)))
    assert used == list(range(count))


def split(pictures):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (pictures, 32, 32, 3), np.uint8)
    return data.Split("train", images, np.arange(pictures) % 10)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("randaugment", [0, 1])
def test_training_batches_that_do_not_live_on_the_device_are_copied_so(copies, monkeypatch, large, randaugment):
    monkeypatch.setattr(fast, "RESIDENT", 0 if large else fast.RESIDENT)
    loader = data.build_train_loader(
        split(8),
        batch_size=2,
        image_size=32,
        num_workers=0,
        seed=0,
        augmentation=data.Augmentation(randaugment=randaugment),
        pipeline="fast",
        on_device=True,
    )
    assert len(list(loader)) == 4
    assert copies == [(paddle.uint8, False)] * (4 if large or randaugment else 0)


def test_validation_batches_that_do_not_live_on_the_device_are_copied_so_one_ahead(copies, monkeypatch):
    monkeypatch.setattr(fast, "RESIDENT", 0)
    loader = data.build_eval_loader(split(6), batch_size=2, image_size=32, num_workers=0, pipeline="fast")
    for i, (images, labels) in enumerate(loader):
        assert labels.tolist() == [2 * i, 2 * i + 1]
        assert images.shape == [2, 3, 32, 32]
        assert copies == [(paddle.uint8, False), (paddle.int64, False)] * min(3, i + 2)


def test_a_cpu_makes_no_validation_batch_ahead(monkeypatch):
    made = []
    monkeypatch.setattr(fast, "RESIDENT", 0)
    monkeypatch.setattr(fast, "upload", lambda array: made.append(1) or ahead.upload(array))
    loader = data.build_eval_loader(split(6), batch_size=2, image_size=32, num_workers=0, pipeline="fast")
    next(iter(loader))
    assert len(made) == 2  # pictures and labels of one batch
