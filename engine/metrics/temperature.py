"""Temperature scaling: one number that divides the logits, so that confidence means what it says.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
"""

import math

import numpy as np

from common.words import counted
from engine.metrics.quality import cross_entropy

LEAST, MOST = 0.01, 100.0  # temperatures that are looked at; a model that needs another one is broken
EXACT = 1e-6  # of the logarithm of a temperature


class CannotFit(ValueError):
    """No temperature is best; the message says why."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature of the least cross entropy: logits [N, classes], labels [N] -> float.

    The cross entropy is convex in 1 / temperature, so that its slopes at both ends say whether it has a least value.

    Raises:
        CannotFit: the cross entropy falls all the way to one end.
    """
    from scipy.optimize import minimize_scalar

    logits, pictures = np.asarray(logits, np.float64), counted(len(labels), "picture")
    own = logits[np.arange(len(labels)), labels]
    if (own >= logits.max(axis=1)).all():
        raise CannotFit(
            f"of {pictures} none is misclassified, so that a lower temperature always has a lower cross entropy"
        )
    if own.mean() <= logits.mean():
        raise CannotFit(f"the logits are no better than chance on {pictures}")
    found = minimize_scalar(
        lambda log_t: cross_entropy(logits / math.exp(log_t), labels),
        bounds=(math.log(LEAST), math.log(MOST)),
        method="bounded",
        options={"xatol": EXACT},
    )
    temperature = math.exp(found.x)
    if not LEAST * 1.001 < temperature < MOST / 1.001:  # at an end, the search stops just before it
        raise CannotFit(f"the best temperature for {pictures} is not between {LEAST:g} and {MOST:g}")
    return temperature
