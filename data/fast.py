"""The fast pipeline: the notebook's pictures, many times faster, by `data.augment`.

The parameters of an epoch are drawn at once, so a picture depends on (seed, epoch, index) alone. On a CPU, threads make
uint8 batches. On a GPU the pictures live on the device and are augmented there. If they are too large for that, or
threads on the host apply RandAugment first, uint8 batches are uploaded one by one.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from . import augment, erasing, streams
from .ahead import one_ahead, upload
from .dataset import Split
from .epoch import Augmentation, EpochPictures
from .evaluation import EvaluationPictures
from .normalise import unnormalise
from .sampler import EpochBatchSampler

RESIDENT = 1 << 30  # bytes; a split up to this size is kept on the device (CIFAR-10 takes a seventh of it)
# Added before rounding down. More than a half, because levels that are halves come out a little above or below, and
# Paddle's versions differ in which: 0.002 at 32 x 32. From there to 224 x 224 no other level is near enough to change.
UP = 0.5 + 1 / 256
AHEAD = 2  # prefetched batches, beyond one per worker
Batch = tuple[Tensor, Tensor]  # pictures, labels


class AugmentedPictures(EpochPictures):
    """Pictures to train on, whose parameters are drawn once per epoch."""

    def __init__(
        self,
        split: Split,
        image_size: int,
        seed: int,
        augmentation: Augmentation,
        make: Callable[[np.ndarray, augment.Params, int], np.ndarray],
    ):
        super().__init__(split, image_size, seed, augmentation)
        self.make = make
        self._of_epoch: tuple[int, augment.Params] | None = None

    def params(self, epoch: int) -> augment.Params:
        """Return how each picture of the split is augmented in an epoch."""
        if self._of_epoch is None or self._of_epoch[0] != epoch:
            rng = streams.generator(streams.AUGMENTATION, self.seed, epoch)
            height, width = self.split.images.shape[1:3]
            self._of_epoch = epoch, augment.sample(rng, len(self.split), height, width, self.augmentation)
        return self._of_epoch[1]

    def drawn(self, epoch: int, index: int) -> augment.Params:
        """Return how a picture is augmented."""
        return self.params(epoch)[index]

    def picture(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
        epoch, index = key
        images = self.make(self.before(epoch, [index]), self.params(epoch)[[index]], self.image_size)
        return images[0], self.split.labels[index]


class FastTrainLoader:
    """Batches (pictures float32 [batch, 3, size, size], labels int64 [batch]), augmented and normalised.

    Args:
        num_workers: threads that make batches on a CPU, or apply RandAugment for another device; with 0 the calling
            thread does. It does not affect the pictures.
        on_device: augment on Paddle's current device, and keep the split there if it is not larger than `RESIDENT`.
    """

    def __init__(
        self,
        split: Split,
        batch_sampler: EpochBatchSampler,
        *,
        image_size: int,
        num_workers: int,
        seed: int,
        augmentation: Augmentation,
        on_device: bool,
    ):
        make = _by_ops if on_device else augment.apply_cv2
        self.dataset = AugmentedPictures(split, image_size, seed, augmentation, make)
        self.batch_sampler = batch_sampler
        self.num_workers, self.on_device, self.erases = num_workers, on_device, augmentation.erasing > 0
        if on_device:
            large = split.images.nbytes > RESIDENT or not isinstance(split.images, np.ndarray)
            on_host = augmentation.randaugment or large
            self._images = None if on_host else paddle.to_tensor(split.images)
            self._labels = paddle.to_tensor(split.labels)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        return self._launched() if self.on_device else self._computed()

    def _computed(self) -> Iterator[Batch]:
        """Yield batches made by threads, in order; the threads end with the iteration, however it ends."""
        dataset, epoch, order = self.dataset, self.batch_sampler.epoch, self.batch_sampler.indices()
        params, boxes = dataset.params(epoch), dataset.boxes(epoch)

        def make(indices: np.ndarray) -> np.ndarray:  # without Paddle, whose operators belong to the calling thread
            return _planes(augment.apply_cv2(dataset.before(epoch, indices), params[indices], dataset.image_size))

        for indices, images in zip(order, _in_threads(make, order, self.num_workers), strict=True):
            images = augment.normalise_levels(paddle.to_tensor(images).astype("float32"))
            if self.erases:
                images = erasing.erase_batch(images, paddle.to_tensor(boxes[indices], "float32"))
            yield images, paddle.to_tensor(dataset.split.labels[indices])

    def _launched(self) -> Iterator[Batch]:
        """Yield batches whose operators are queued on the device, one batch ahead of the one in use."""
        dataset, epoch, order = self.dataset, self.batch_sampler.epoch, self.batch_sampler.indices()
        params = dataset.params(epoch)[order.ravel()].upload()
        boxes = paddle.to_tensor(dataset.boxes(epoch)[order.ravel()], "float32")
        before = functools.partial(dataset.before, epoch)
        on_host = _in_threads(before, order, self.num_workers) if self._images is None else None
        steps, batch_size = order.shape
        order = paddle.to_tensor(order.ravel())

        def launch(step: int) -> Batch:
            now = slice(step * batch_size, (step + 1) * batch_size)
            # Paddle documents `gather` of uint8 for the CPU only; its sources have it for the GPU too.
            images = upload(next(on_host)) if on_host else paddle.gather(self._images, order[now])
            images = augment.apply_ops(images, params[now], dataset.image_size)
            if self.erases:
                images = erasing.erase_batch(images, boxes[now])
            return images, paddle.gather(self._labels, order[now])

        yield from one_ahead(map(launch, range(steps)))


class FastEvalLoader:
    """Batches (pictures float32 [batch, 3, size, size], labels int64 [batch]) in order, nothing dropped.

    Each batch is resized by one operator on Paddle's current device. The split is kept there if it is not larger than
    `RESIDENT`.
    """

    def __init__(self, split: Split, *, batch_size: int, image_size: int):
        self.dataset = EvaluationPictures(split, image_size)
        self.image_size = image_size
        self._batches = [
            (split.images[begin : begin + batch_size], split.labels[begin : begin + batch_size])
            for begin in range(0, len(split), batch_size)
        ]
        self._resident = isinstance(split.images, np.ndarray) and split.images.nbytes <= RESIDENT
        if self._resident:
            self._batches = [_uploaded(batch) for batch in self._batches]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        batches: Iterable[Batch] = self._batches if self._resident else map(_uploaded, self._batches)
        if not self._resident and paddle.get_device() != "cpu":
            batches = one_ahead(batches)
        for images, labels in batches:
            yield resize(images, self.image_size), labels


def resize(images: Tensor, size: int) -> Tensor:
    """Resize as cv2 does, and normalize: uint8 [n, h, w, 3] -> float32 [n, 3, size, size]."""
    x = images.transpose([0, 3, 1, 2]).astype("float32")
    if list(x.shape[2:]) != [size, size]:
        # Not as a matrix product, which a GPU may compute in TF32 (see engine.system.tf32), too coarse to round after.
        x = paddle.floor(F.interpolate(x, [size, size], mode="bilinear", align_corners=False) + UP)
    return augment.normalise_levels(x)


def _uploaded(batch: Iterable[np.ndarray]) -> Batch:
    images, labels = map(upload, map(np.asarray, batch))
    return images, labels


def _by_ops(images: np.ndarray, params: augment.Params, size: int) -> np.ndarray:
    return unnormalise(augment.apply_ops(paddle.to_tensor(images), params.upload(), size).numpy())


def _planes(images: np.ndarray) -> np.ndarray:
    """uint8 [n, h, w, 3] -> [n, 3, h, w], several times faster than numpy."""
    planes = np.empty((len(images), 3, *images.shape[1:3]), np.uint8)
    for image, channels in zip(images, planes, strict=True):
        cv2.split(image, list(channels))
    return planes


def _in_threads(make: Callable[[Any], Any], jobs: Iterable, num_workers: int) -> Iterator[Any]:
    """Yield make(job) for each job in order, made by threads a few jobs ahead; an error in a thread is raised here."""
    if not num_workers:
        yield from map(make, jobs)
        return
    cv2_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the workers are the parallelism
    workers, pending = ThreadPoolExecutor(num_workers, "augment"), deque[Future]()
    try:
        for job in jobs:
            pending.append(workers.submit(make, job))
            if len(pending) == num_workers + AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        workers.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(cv2_threads)
