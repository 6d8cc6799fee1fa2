"""Errors under corruptions, and the mean corruption errors of Hendrycks and Dietterich, ICLR 2019, section 3.2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Accuracies = Mapping[str, Sequence[float]]  # of each corruption, at each severity


@dataclass(frozen=True)
class Normalized:
    """Corruption errors divided by those of a baseline; None where the baseline's are not above 0.

    Attributes:
        errors: CE of each corruption: the sum of the model's errors over severities, divided by the baseline's.
        relative: relative CE: the same, each error less the one on clean pictures.
    """

    errors: dict[str, float | None]
    relative: dict[str, float | None]

    @property
    def mean(self) -> float | None:
        """Return the mCE."""
        return _mean(self.errors)

    @property
    def relative_mean(self) -> float | None:
        """Return the relative mCE."""
        return _mean(self.relative)


def error(accuracies: Sequence[float]) -> float:
    """Return the mean error over severities."""
    return 1 - float(np.mean(accuracies))


def mean_error(accuracies: Accuracies) -> float:
    """Return the mean error over corruptions and severities, divided by no baseline's.

    For CIFAR-10-C this is what papers report since Hendrycks, Mu et al., "AugMix", ICLR 2020.
    """
    return float(np.mean([error(values) for values in accuracies.values()]))


def normalized(accuracies: Accuracies, clean: float, baseline: Accuracies, baseline_clean: float) -> Normalized:
    """Return the corruption errors that a baseline normalizes.

    Args:
        accuracies, baseline: of the model and of the baseline, for the same corruptions.
        clean, baseline_clean: their accuracies on clean pictures.
    """
    errors, relative = {}, {}
    for name, values in accuracies.items():
        ours, theirs = 1 - np.array(values), 1 - np.array(baseline[name])
        errors[name] = _ratio(ours.sum(), theirs.sum())
        relative[name] = _ratio((ours - (1 - clean)).sum(), (theirs - (1 - baseline_clean)).sum())
    return Normalized(errors, relative)


def _ratio(ours: float, theirs: float) -> float | None:
    return float(ours / theirs) if theirs > 1e-12 else None


def _mean(values: Mapping[str, float | None]) -> float | None:
    known = [value for value in values.values() if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
