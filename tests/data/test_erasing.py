import numpy as np
import paddle
import pytest
from scipy import stats

import data
from data import erasing
from data.epoch import AS_THE_NOTEBOOK, Augmentation
from tests.support.pictures import split

DRAWS, SIZE = 20_000, 224


@pytest.fixture(scope="module")
def boxes():
    return erasing.sample(np.random.default_rng(0), DRAWS, SIZE, 0.25)


def test_as_many_pictures_are_erased_as_the_probability_says(boxes):
    erased = (boxes[:, 2:] > 0).all(axis=1)
    assert stats.binomtest(int(erased.sum()), DRAWS, 0.25).pvalue > 0.01
    np.testing.assert_array_equal(boxes[~erased], 0)
    assert not erasing.sample(np.random.default_rng(0), DRAWS, SIZE, 0).any()
    assert erasing.sample(np.random.default_rng(0), DRAWS, SIZE, 1).all(axis=0)[2:].all()


def test_rectangles_have_the_papers_areas_and_aspects_and_lie_within(boxes):
    top, left, height, width = boxes[boxes[:, 2] > 0].T
    assert stats.kstest(height * width / SIZE**2, stats.uniform(0.02, 1 / 3 - 0.02).cdf).pvalue > 0.01
    aspect = height / width
    assert 0.28 < aspect.min() < 0.33 < 3 < aspect.max() < 3.6  # rounded to pixels
    assert np.median(aspect) == pytest.approx(1, abs=0.05)
    assert (top + height <= SIZE).all()
    assert (left + width <= SIZE).all()
    # Anywhere: as far from one edge as from the other.
    np.testing.assert_allclose(top.mean(), (SIZE - top - height).mean(), rtol=0.03)
    np.testing.assert_allclose(left.mean(), (SIZE - left - width).mean(), rtol=0.03)


def test_a_box_is_erased_alike_in_arrays_and_on_the_device():
    images = np.random.RandomState(0).standard_normal((40, 3, 32, 32)).astype("float32")
    boxes = erasing.sample(np.random.default_rng(1), 40, 32, 0.7)
    expected = images.copy()
    for image, (top, left, height, width) in zip(expected, boxes, strict=True):
        image[:, top : top + height, left : left + width] = 0
    on_device = erasing.erase_batch(paddle.to_tensor(images), paddle.to_tensor(boxes, "float32"))
    np.testing.assert_array_equal(on_device.numpy(), expected)
    np.testing.assert_array_equal([erasing.erase(*pair) for pair in zip(images, boxes, strict=True)], expected)


@pytest.mark.parametrize(("pipeline", "on_device"), [("host", False), ("fast", False), ("fast", True)])
def test_every_pipeline_erases_the_same_boxes_of_its_finished_pictures(pipeline, on_device):
    def batches(augmentation):
        loader = data.build_train_loader(
            split(),
            batch_size=20,
            image_size=40,
            num_workers=0,
            seed=42,
            augmentation=augmentation,
            pipeline=pipeline,
            on_device=on_device,
        )
        loader.batch_sampler.set_epoch(2)
        return np.concatenate([x.numpy() for x, _ in loader]), loader.batch_sampler.indices().ravel()

    plain, order = batches(AS_THE_NOTEBOOK)
    made, _ = batches(Augmentation(erasing=0.6))
    boxes = erasing.boxes(42, 2, 100, 40, 0.6)[order]
    assert 40 < (boxes[:, 2] > 0).sum() < 80
    np.testing.assert_array_equal(made, [erasing.erase(*pair) for pair in zip(plain, boxes, strict=True)])
