"""The predictions of a model on a split, and metrics of their quality."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.metrics.interval import interval

BINS = 15  # of the reliability diagram, as in Guo et al.


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of -log p[label]: logits float64 [N, classes], labels [N]."""
    highest = logits.max(axis=1)
    own = logits[np.arange(len(logits)), labels]
    return float(np.mean(np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest - own))


@dataclass(frozen=True)
class Predictions:
    """Predictions for N pictures in the split's order.

    scikit-learn computes the metrics. It is imported only when needed, because the import takes a second.

    Attributes:
        probabilities: float32 [N, classes].
        labels: the true classes, int64 [N].
        logits: float32 [N, classes], or None. Rounding can make probabilities equal where logits are not.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    logits: np.ndarray | None = None

    @cached_property
    def predicted(self) -> np.ndarray:
        """The class with the highest logit, of equal ones the first, as in `meter.ranks`; int64 [N]."""
        return (self.probabilities if self.logits is None else self.logits).argmax(axis=1)

    @cached_property
    def confidence(self) -> np.ndarray:
        """The highest probability, float32 [N]."""
        return self.probabilities.max(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the predicted class is the true one, bool [N]."""
        return self.predicted == self.labels

    @property
    def classes(self) -> range:
        """The indices of the classes."""
        return range(self.probabilities.shape[1])

    def cross_entropy(self) -> float:
        """Return the mean of -log p[label], from the logits: on a CPU, Paddle's log_softmax ends at -64."""
        return cross_entropy(np.asarray(self.logits, np.float64), self.labels)

    def tempered(self, temperature: float) -> "Predictions":
        """Return the predictions whose probabilities are softmax(logits / temperature): the same classes."""
        from scipy.special import softmax

        logits = np.asarray(self.logits, np.float64) / temperature
        return Predictions(softmax(logits, axis=1), self.labels, logits)

    def interval(self) -> tuple[float, float]:
        """Return the interval of the accuracy."""
        return interval(self.correct.sum(), len(self.labels))

    def confusion(self) -> np.ndarray:
        """Return the confusion matrix: counts int64 [classes, classes], rows are true, columns predicted classes."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.labels, self.predicted, labels=self.classes)

    def per_class(self) -> list["ClassQuality"]:
        """Return the quality of each class; a metric is 0 if the class was never predicted or has no pictures."""
        from sklearn.metrics import precision_recall_fscore_support

        columns = precision_recall_fscore_support(self.labels, self.predicted, labels=self.classes, zero_division=0)
        return [
            ClassQuality(float(precision), float(recall), float(f1), int(images))
            for precision, recall, f1, images in zip(*columns, strict=True)
        ]

    def calibration(self, bins: int = BINS) -> "Calibration":
        """Return the reliability diagram: accuracy and confidence in `bins` equal intervals of confidence.

        Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
        """
        bin = np.minimum(np.ceil(self.confidence * bins).astype(np.int64) - 1, bins - 1)  # (m - 1)/bins < c <= m/bins
        images = np.bincount(bin, minlength=bins)
        divisor = np.maximum(images, 1)
        return Calibration(
            images,
            np.bincount(bin, self.confidence, bins) / divisor,
            np.bincount(bin, self.correct, bins) / divisor,
        )

    def mistakes(self, most: int) -> np.ndarray:
        """Return the indices of at most `most` misclassified pictures, most confident first."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most]


@dataclass(frozen=True)
class ClassQuality:
    """Quality of the predictions for one class: fractions, and the number of its pictures."""

    precision: float
    recall: float
    f1: float
    images: int

    def as_dict(self) -> dict:
        """Return the fields by name, and the interval of the recall, None without pictures."""
        right = round(self.recall * self.images)
        return {**dataclasses.asdict(self), "recall_interval": interval(right, self.images) if self.images else None}


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram: for each bin its number of pictures, their mean confidence and their accuracy."""

    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    def as_dict(self) -> dict:
        """Return the numbers of each bin as lists, by name."""
        return {name: array.tolist() for name, array in vars(self).items()}

    @property
    def error(self) -> float:
        """The expected calibration error (ECE): mean distance of confidence and accuracy over all pictures (eq. 3)."""
        return float((self.images * np.abs(self.accuracy - self.confidence)).sum() / self.images.sum())
