import math

import pytest

from engine.metrics.interval import interval


@pytest.mark.parametrize(("right", "pictures"), [(355, 360), (36, 36), (0, 7), (1, 1), (8160, 10_000)])
def test_an_interval_is_wilsons(right, pictures):
    """By hand: the accuracies from which the one seen is 1.96 standard deviations away."""
    z, share = 1.959964, right / pictures
    middle = (share + z * z / (2 * pictures)) / (1 + z * z / pictures)
    half = z / (1 + z * z / pictures) * math.sqrt(share * (1 - share) / pictures + (z / (2 * pictures)) ** 2)
    low, high = interval(right, pictures)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert 0 <= low < high <= 1
    assert low <= share <= high
