"""What a model makes of the pictures of a split, and the numbers that tell how good that is."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

BINS = 15  # of confidence, as in Guo et al.


@dataclass(frozen=True)
class Predictions:
    """For N pictures in the split's order: probabilities float32 [N, classes], and labels int64 [N], the true classes.

    Metrics are scikit-learn's, which is imported only when one is asked for: it takes a second.
    """

    probabilities: np.ndarray
    labels: np.ndarray

    @cached_property
    def predicted(self):
        """The class of the highest probability, int64 [N]."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confidence(self):
        """The highest probability, float32 [N]."""
        return self.probabilities.max(axis=1)

    @cached_property
    def correct(self):
        """Whether the predicted class is the true one, bool [N]."""
        return self.predicted == self.labels

    @property
    def classes(self):
        return range(self.probabilities.shape[1])

    def confusion(self):
        """Count pictures by class: int64 [classes, classes], true ones down, predicted ones across."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.labels, self.predicted, labels=self.classes)

    def per_class(self):
        """Return a `ClassQuality` for each class; 0 where a class was never predicted or has no pictures."""
        from sklearn.metrics import precision_recall_fscore_support

        columns = precision_recall_fscore_support(self.labels, self.predicted, labels=self.classes, zero_division=0)
        return [ClassQuality(*map(float, row[:3]), int(row[3])) for row in zip(*columns, strict=True)]

    def calibration(self, bins=BINS):
        """Hold confidence against accuracy in `bins` equal parts of 0..1.

        Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
        """
        part = np.minimum(np.ceil(self.confidence * bins).astype(np.int64) - 1, bins - 1)  # (m - 1)/bins < c <= m/bins
        images = np.bincount(part, minlength=bins)
        some = np.maximum(images, 1)
        return Calibration(
            images,
            np.bincount(part, self.confidence, bins) / some,
            np.bincount(part, self.correct, bins) / some,
        )

    def mistakes(self, most):
        """Return the numbers of at most so many pictures that were taken for something else, most confident first."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most]


@dataclass(frozen=True)
class ClassQuality:
    """Of one class, fractions and a number of pictures."""

    precision: float
    recall: float
    f1: float
    images: int

    as_dict = dataclasses.asdict


@dataclass(frozen=True)
class Calibration:
    """For each part of the range of confidence: pictures in it, their mean confidence, the share that is correct."""

    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self):
        """The expected calibration error (ECE): the mean distance of the two over all pictures (eq. 3)."""
        return float((self.images * np.abs(self.accuracy - self.confidence)).sum() / self.images.sum())
