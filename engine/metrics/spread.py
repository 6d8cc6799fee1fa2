"""How far accuracies spread over seeds and over pictures, and whether two models differ by more than that.

SciPy computes it. It is imported only when needed, because the import takes a second.
"""

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.metrics.interval import CONFIDENCE

RESAMPLES = 9999
SEED = 0  # so that an interval over pictures is the same each time


@dataclass(frozen=True)
class Interval:
    """An estimate, and an interval around it of confidence `CONFIDENCE`; its ends are NaN if it cannot be known."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class McNemar:
    """Two models on the same pictures: how many only the first has right, how many only the second, and the p-value."""

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Welch:
    """The difference between the means of two groups of seeds, and the p-value."""

    difference: Interval
    p: float


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean of one value per seed and its interval by Student's t; of one seed no interval is known.

    Source: Student, "The Probable Error of a Mean", Biometrika 6, 1908.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    half = deviations(len(values)) * statistics.stdev(values)
    return Interval(mean, mean - half, mean + half)


def deviations(count: int) -> float:
    """Return how many standard deviations the interval of `over_seeds` has on either side."""
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) / math.sqrt(count)


def over_pictures(values: np.ndarray) -> Interval:
    """Return the mean of one value per picture, [N], and its bootstrap interval over pictures.

    For the difference of two models on the same pictures, give the difference for each picture: pictures are then
    drawn in pairs.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentiles).
    """
    from scipy import stats

    found = stats.bootstrap(
        (np.asarray(values, np.float64),),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        batch=max(1, 2**20 // len(values)),  # all at once would take gigabytes
        method="percentile",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(float(np.mean(values)), float(found.low), float(found.high))


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Compare two models by which pictures each has right, bool [N] and bool [N], with McNemar's exact test.

    Sources: McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions or Percentages",
    Psychometrika 12, 1947; Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning
    Algorithms", Neural Computation 10, 1998, section 3.1.
    """
    from scipy import stats

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return McNemar(
        only_first, only_second, float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0
    )


def welch(first: Sequence[float], second: Sequence[float]) -> Welch | None:
    """Compare the means of two groups, one value per seed, by Welch's t; None without a spread to compare them by.

    Source: Welch, "The Generalization of 'Student's' Problem when Several Different Population Variances Are
    Involved", Biometrika 34, 1947.
    """
    from scipy import stats

    # Of equal values SciPy finds a spread of 1e-17 and a p-value of 1e-31.
    if min(len(first), len(second)) < 2 or len(set(first)) == len(set(second)) == 1:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about one group of equal values, whose spread is 0
        found = stats.ttest_ind(first, second, equal_var=False)
    ends = found.confidence_interval(CONFIDENCE)
    estimate = statistics.fmean(first) - statistics.fmean(second)
    return Welch(Interval(estimate, float(ends.low), float(ends.high)), float(found.pvalue))
