import numpy as np
import pytest
from scipy import stats

import data
from data import augment, randaugment
from data.epoch import AS_THE_NOTEBOOK, Augmentation
from data.host import TrainingPictures
from data.normalise import MEAN
from data.randaugment import NAMES
from tests.support.pictures import pictures, split

IMAGES = pictures(8)
OF_A_MAGNITUDE = [name for name in NAMES if name not in ("identity", "autocontrast", "equalize")]


def changed(name, magnitude, direction=1, images=IMAGES):
    operations = np.tile([[[NAMES.index(name), direction]]], (len(images), 1, 1))
    return randaugment.randaugment(images, operations, magnitude)


def change(name, magnitude, direction=1):
    return np.abs(changed(name, magnitude, direction).astype(int) - IMAGES).mean()


def test_the_operations_are_the_papers():
    without_magnitude, of_pixels = {"identity", "autocontrast", "equalize"}, {"solarize", "posterize"}
    moving, enhancing = {"rotate", "shear x", "shear y", "translate x", "translate y"}, {"color", "contrast"}
    assert set(NAMES) == without_magnitude | of_pixels | moving | enhancing | {"brightness", "sharpness"}
    assert len(NAMES) == 14


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("name", OF_A_MAGNITUDE)
def test_a_magnitude_of_0_changes_nothing_and_a_larger_one_more(name, direction):
    np.testing.assert_array_equal(changed(name, 0, direction), IMAGES)
    assert 0 < change(name, 2, direction) < change(name, 4, direction)


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "identity"])
def test_three_operations_have_no_magnitude(name):
    np.testing.assert_array_equal(changed(name, 0), changed(name, 10, -1))
    assert (change(name, 0) > 0) == (name != "identity")


@pytest.mark.parametrize("name", OF_A_MAGNITUDE)
def test_the_direction_matters_where_there_are_two(name):
    forth, back = changed(name, 8).astype(int), changed(name, 8, -1).astype(int)
    assert (np.abs(forth - back).mean() > 2) == (name not in ("solarize", "posterize"))


@pytest.mark.parametrize("name", ["rotate", "translate x"])
def test_directions_are_mirror_images(name):
    mirrored = changed(name, 8, -1, np.ascontiguousarray(IMAGES[:, :, ::-1]))[:, :, ::-1]
    assert np.abs(mirrored.astype(int) - changed(name, 8)).mean() < 1


def test_the_largest_magnitudes_are_autoaugments():
    flat = np.full((1, 32, 32, 3), 90, np.uint8)
    assert changed("brightness", 10, -1, flat).max() == 9  # a tenth
    assert changed("brightness", 10, 1, flat).min() == 171
    assert set(changed("posterize", 10, images=IMAGES).ravel() % 16) == {0}  # four bits
    np.testing.assert_array_equal(changed("solarize", 10), 255 - IMAGES)
    moved = changed("translate x", 10, images=flat)[0]  # by 14.5 pixels
    filled = (moved == randaugment.FILL).all(axis=2)
    assert filled[:, :17].sum() == 0
    assert filled[:, 18:].all()
    sheared = (changed("shear y", 10, images=flat)[0] == randaugment.FILL).all(axis=2)
    assert sheared[:, -1].sum() == pytest.approx(0.3 * 31.5, abs=1)


def test_pixels_that_a_move_uncovers_have_the_mean_color():
    np.testing.assert_array_equal(randaugment.FILL, np.rint(255 * np.array(MEAN)))


def test_the_operations_follow_each_other_in_their_order():
    names = ["posterize", "translate y", "equalize"]
    operations = np.array([[[NAMES.index(name), 1] for name in names]] * len(IMAGES))
    step = IMAGES
    for name in names:
        step = changed(name, 7, images=step)
    np.testing.assert_array_equal(randaugment.randaugment(IMAGES, operations, 7), step)


def test_operations_are_drawn_evenly_with_replacement_and_in_both_directions():
    drawn = randaugment.sample(np.random.default_rng(0), 20_000, 2)
    assert drawn.shape == (20_000, 2, 2)
    pairs = np.bincount(drawn[:, 0, 0] * len(NAMES) + drawn[:, 1, 0], minlength=len(NAMES) ** 2)
    assert stats.chisquare(pairs).pvalue > 0.01
    assert stats.binomtest(int((drawn[..., 1] == 1).sum()), 40_000).pvalue > 0.01
    assert set(drawn[..., 1].ravel()) == {-1, 1}


STRONG = Augmentation(randaugment=2, magnitude=9.0)


def loader(pipeline, num_workers=0, on_device=False, augmentation=STRONG, batch_size=8):
    return data.build_train_loader(
        split(),
        batch_size=batch_size,
        image_size=40,
        num_workers=num_workers,
        seed=42,
        augmentation=augmentation,
        pipeline=pipeline,
        on_device=on_device,
    )


def test_both_pipelines_give_the_transforms_the_same_pictures(monkeypatch):
    """Seen from within: what the notebook's transforms get, and what the appliers get."""
    host, fast = loader("host"), loader("fast")
    given = {}
    monkeypatch.setattr(data.host, "apply", lambda image, *_: given.setdefault("host", []).append(image) or image)
    monkeypatch.setattr(augment, "apply_cv2", lambda images, *_: given.setdefault("fast", []).extend(images) or images)
    for train in (host, fast):
        train.batch_sampler.set_epoch(3)
        list(train)
    np.testing.assert_array_equal(given["host"], given["fast"])
    order = host.batch_sampler.indices().ravel()
    operations = randaugment.operations(42, 3, 100, 2)[order]
    np.testing.assert_array_equal(given["host"], randaugment.randaugment(split().images[order], operations, 9.0))


@pytest.mark.parametrize(
    ("pipeline", "num_workers", "on_device"),
    [("host", 2, False), ("fast", 1, False), ("fast", 3, False), ("fast", 2, True)],
)
def test_a_picture_depends_on_seed_epoch_and_index_only(pipeline, num_workers, on_device):
    augmentation = Augmentation(randaugment=2, erasing=0.5)
    through = loader(pipeline, num_workers, on_device, augmentation)
    begins = loader(pipeline, 0, on_device, augmentation, batch_size=32)
    for epoch in range(2):
        through.batch_sampler.set_epoch(epoch)
        images = np.concatenate([x.numpy() for x, _ in through])
    begins.batch_sampler.set_epoch(1)
    np.testing.assert_array_equal(images, np.concatenate([x.numpy() for x, _ in begins]))
    for i, key in enumerate([key for batch in through.batch_sampler for key in batch][:20]):
        np.testing.assert_allclose(through.dataset[key][0], images[i], rtol=0, atol=1e-5)


@pytest.mark.parametrize("on_device", [False, True])
def test_the_draws_of_the_recipe_are_the_same_with_and_without(on_device):
    """Ingredients whose draws change no pixel: none else moves."""
    nothing = Augmentation(randaugment=3, magnitude=0.0)
    for pipeline in ("host", "fast"):
        plain, on = loader(pipeline, 0, on_device, AS_THE_NOTEBOOK), loader(pipeline, 0, on_device, nothing)
        on.dataset.operations = lambda epoch: np.zeros((100, 3, 2), np.int64)  # all identity
        for (images, _), (expected, _) in zip(on, plain, strict=True):
            np.testing.assert_array_equal(images.numpy(), expected.numpy())


def test_without_ingredients_nothing_is_touched():
    pictures = TrainingPictures(split(), 40, 42, AS_THE_NOTEBOOK)
    assert pictures.operations(0).shape == (100, 0, 2)
    np.testing.assert_array_equal(pictures.before(0, [5, 7]), split().images[[5, 7]])
    np.testing.assert_array_equal(pictures.boxes(0)[:, 2:], 0)
