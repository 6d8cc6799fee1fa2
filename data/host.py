"""The notebook's pipeline: `paddle.vision.transforms` with the cv2 backend, picture by picture on the host.

What a picture becomes depends on (seed, epoch, index) alone, not on which worker handles it or what came before.
"""

import contextlib
import random
from dataclasses import dataclass

import numpy as np
from paddle.io import Dataset
from paddle.vision import transforms as T

from . import erasing, randaugment, streams

# ImageNet's channel means and deviations, which the notebook uses for CIFAR-10 too; RGB, for values in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Augmentation:
    """How strongly training pictures are changed; the defaults are the notebook's."""

    crop: float = 0.6  # the least share of a picture's area that is kept
    jitter: float = 0.2  # of brightness, contrast and saturation
    rotation: float = 20.0  # degrees to either side
    randaugment: int = 0  # operations a picture
    magnitude: float = 9.0  # of these, 0 to 10
    erasing: float = 0.0  # the probability of it


AS_THE_NOTEBOOK = Augmentation()


def training_transform(image_size, augmentation=AS_THE_NOTEBOOK):
    """uint8 [h, w, 3] -> float32 [3, image_size, image_size], augmented and normalised."""
    jitter = augmentation.jitter
    return T.Compose(
        [
            T.RandomResizedCrop(image_size, scale=(augmentation.crop, 1.0)),
            T.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter),
            T.RandomHorizontalFlip(0.5),
            T.RandomRotation(augmentation.rotation),
            normalise,
        ]
    )


def evaluation_transform(image_size):
    """uint8 [h, w, 3] -> float32 [3, image_size, image_size], normalised."""
    return T.Compose([T.Resize((image_size, image_size)), normalise])


def normalise(image):
    """uint8 [H, W, 3] -> float32 [3, H, W]: what `ToTensor` and `Normalize` compute, but without Paddle's operators.

    These run in forked worker processes, where an operator of Paddle can crash.
    """
    image = image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return (image - np.float32(MEAN)[:, None, None]) / np.float32(STD)[:, None, None]


def unnormalise(images):
    """Undo the normalisation for people's eyes: float [N, 3, H, W] -> uint8 [N, H, W, 3]."""
    images = np.asarray(images).transpose(0, 2, 3, 1) * np.float32(STD) + np.float32(MEAN)
    return (images * 255).round().clip(0, 255).astype(np.uint8)


class EpochPictures(Dataset):
    """Pictures of a split as each epoch has them; what every pipeline does before and after the notebook's transforms.

    It is drawn an epoch at once, so that it depends on (seed, epoch, index) alone.
    """

    def __init__(self, split, image_size, seed, augmentation):
        super().__init__()
        self.split, self.image_size, self.seed, self.augmentation = split, image_size, seed, augmentation

    def operations(self, epoch):
        """Return RandAugment's operations on each picture, as `randaugment.sample` does."""
        return randaugment.operations(self.seed, epoch, len(self), self.augmentation.randaugment)

    def boxes(self, epoch):
        """Return what is erased of each picture, as `erasing.sample` does."""
        return erasing.boxes(self.seed, epoch, len(self), self.image_size, self.augmentation.erasing)

    def before(self, epoch, indices):
        """Return pictures of the split as they are given to the transforms: uint8 [n, side, side, 3]."""
        operations = self.operations(epoch)[indices]
        return randaugment.randaugment(self.split.images[indices], operations, self.augmentation.magnitude)

    def __len__(self):
        return len(self.split)


class TrainingPictures(EpochPictures):
    """Pictures to train on: the key (epoch, index) -> (augmented picture, label)."""

    def __init__(self, split, image_size, seed, augmentation):
        super().__init__(split, image_size, seed, augmentation)
        self.transform = training_transform(image_size, augmentation)

    def __getitem__(self, key):
        epoch, index = key
        image = self.before(epoch, [index])[0]
        with _seeded(*streams.picture_seeds(self.seed, epoch, index)):
            image = self.transform(image)
        return erasing.erase(image, self.boxes(epoch)[index]), self.split.labels[index]


class EvaluationPictures(Dataset):
    """Pictures to evaluate on: index -> (picture, label)."""

    def __init__(self, split, image_size):
        super().__init__()
        self.split = split
        self.transform = evaluation_transform(image_size)

    def __getitem__(self, index):
        return self.transform(self.split.images[index]), self.split.labels[index]

    def __len__(self):
        return len(self.split)


@contextlib.contextmanager
def _seeded(for_python, for_numpy):
    """Seed the two global generators that the transforms draw from, and restore them afterwards."""
    before = random.getstate(), np.random.get_state()
    random.seed(for_python)
    np.random.seed(for_numpy)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
