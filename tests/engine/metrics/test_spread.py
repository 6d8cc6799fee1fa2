import math

import numpy as np
import pytest

from engine.metrics.spread import RESAMPLES, deviations, mcnemar, over_pictures, over_seeds, welch


def right(*counts):
    """Which pictures two models have right: (both, only the first, only the second, neither) -> two arrays of bool."""
    rows = [pair for pair, count in zip([(1, 1), (1, 0), (0, 1), (0, 0)], counts, strict=True) for _ in range(count)]
    return np.array(rows, bool).T


@pytest.mark.parametrize(("count", "t"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262)])
def test_the_interval_over_seeds_has_students_t(count, t):
    """t from the tables, for n - 1 degrees of freedom."""
    assert deviations(count) == pytest.approx(t / math.sqrt(count), rel=1e-3)


def test_the_interval_over_three_seeds_is_that_of_a_calculation_by_hand():
    """0.50, 0.52, 0.54: mean 0.52, deviation 0.02, standard error 0.02 / sqrt(3) = 0.011547; t = 4.3027."""
    found = over_seeds([0.50, 0.52, 0.54])
    assert found.estimate == pytest.approx(0.52)
    assert (found.low, found.high) == pytest.approx((0.52 - 0.049683, 0.52 + 0.049683), abs=1e-6)


def test_one_seed_gives_no_interval_and_equal_seeds_an_empty_one():
    alone = over_seeds([0.5])
    assert alone.estimate == 0.5
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    equal = over_seeds([0.1, 0.1, 0.1])  # its sum is not 0.3
    assert (equal.low, equal.high) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize(
    ("counts", "p"),
    [
        ((70, 1, 9, 20), 22 / 1024),  # 2 (1 + 10) / 2^10
        ((70, 9, 1, 20), 22 / 1024),
        ((0, 0, 5, 0), 2 / 32),
        ((5, 2, 2, 5), 1.0),
        ((5, 0, 0, 5), 1.0),  # never apart
    ],
)
def test_mcnemar_is_a_binomial_test_of_the_discordant_pictures(counts, p):
    found = mcnemar(*right(*counts))
    assert (found.only_first, found.only_second) == counts[1:3]
    assert found.p == pytest.approx(p)


def test_the_interval_over_pictures_is_near_the_normal_one_and_always_the_same():
    """With 600 of 1000 right, the standard error is sqrt(0.6 * 0.4 / 1000) = 0.01549."""
    values = np.arange(1000) % 10 < 6
    found = over_pictures(values)
    assert found.estimate == 0.6
    assert (found.low, found.high) == pytest.approx((0.6 - 1.96 * 0.01549, 0.6 + 1.96 * 0.01549), abs=0.002)
    fine = np.linspace(0, 1, 300) ** 2  # between counts of whole pictures, another draw might give the same ends
    assert over_pictures(fine) == over_pictures(fine)


def test_pairs_give_a_narrower_interval_than_pictures_apart():
    """930 both right, 20 only the first, 10 only the second: the variance is that of the differences alone."""
    first, second = right(930, 20, 10, 40)
    found = over_pictures(first.astype(float) - second)
    half = 1.96 * math.sqrt(0.03 - 0.01**2) / math.sqrt(1000)
    assert found.estimate == pytest.approx(0.01)
    assert (found.low, found.high) == pytest.approx((0.01 - half, 0.01 + half), abs=0.0015)
    assert over_pictures(np.zeros(50)) == over_pictures(np.zeros(50, bool))
    assert RESAMPLES >= 1000


def test_welch_is_that_of_a_calculation_by_hand():
    """[.50, .52, .51] and [.40, .45, .40]: variances 1e-4 and 8.333e-4, standard error sqrt(3.111e-4) = 0.017638,
    t = 0.09333 / 0.017638 = 5.2915, 2.4732 degrees of freedom, for which t is 3.6014.
    """
    found = welch([0.50, 0.52, 0.51], [0.40, 0.45, 0.40])
    assert found.difference.estimate == pytest.approx(0.093333, abs=1e-6)
    assert found.difference.high - found.difference.estimate == pytest.approx(3.6014 * 0.017638, abs=2e-4)
    assert found.p == pytest.approx(0.0211, abs=1e-4)


@pytest.mark.parametrize(("first", "second"), [([0.5], [0.4, 0.3]), ([0.5, 0.6], [0.4]), ([0.5] * 3, [0.4] * 3)])
def test_without_a_spread_welch_says_nothing(first, second):
    assert welch(first, second) is None


@pytest.mark.filterwarnings("error")
def test_one_group_of_equal_values_is_compared_by_the_spread_of_the_other():
    """[.5, .5] against [.4, .44]: standard error 0.02, t = 4, one degree of freedom: p = 2 (1/2 - atan(4) / pi)."""
    assert welch([0.5, 0.5], [0.4, 0.44]).p == pytest.approx(1 - 2 * math.atan(4) / math.pi)
