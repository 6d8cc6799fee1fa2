"""The `host` pipeline makes the notebook's pictures to the last bit, and draws what it draws."""

import numpy as np
import pytest

from data import Augmentation, Split, erasing, streams
from data.host import TrainingPictures
from data.normalise import normalise
from tests.support import notebook
from tests.support.pictures import pictures

STRENGTHS = {
    "notebook": {},
    "all off": {"crop": 1, "jitter": 0, "rotation": 0, "flip": 0},
    "no crop": {"crop": 1},
    "small crops": {"crop": 0.05},
    "no jitter": {"jitter": 0},
    "strong jitter": {"jitter": 0.99},
    "far rotation": {"rotation": 179},
    "always flipped": {"flip": 1},
    "ingredients": {"randaugment": 2, "erasing": 0.5},
}


@pytest.mark.parametrize("size", [32, 41, 224])
@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
def test_a_picture_is_what_paddle_visions_transforms_make_of_it_bit_for_bit(strength, size):
    augmentation = Augmentation(**strength)
    transform = notebook.training_transform(size, augmentation)
    for width in (32, 24, 12):  # of the narrowest no crop of usual shape is large enough
        images = np.ascontiguousarray(pictures(12)[:, :, :width])
        made = TrainingPictures(Split("pictures", images, np.arange(12)), size, 42, augmentation)
        for index in range(12):
            image = made.before(3, [index])[0]
            image = notebook.drawn_by(streams.picture_seeds(42, 3, index), transform, image)
            expected = erasing.erase(notebook.normalise(image), made.boxes(3)[index])
            np.testing.assert_array_equal(made[3, index][0], expected)


def test_each_level_of_each_channel_is_normalised_as_by_plain_arithmetic():
    levels = np.stack([np.arange(256, dtype=np.uint8).reshape(16, 16)] * 3, axis=2)
    mixed = np.random.RandomState(0).permutation(levels.ravel()).reshape(levels.shape)
    for images in (np.stack([levels, mixed]), mixed[None, :5, :7]):
        made = normalise(images)
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made, [notebook.normalise(image) for image in images])
