"""Mean corruption errors against cases by hand."""

import pytest

from engine.metrics import robustness

OURS = {"fog": [0.9, 0.8, 0.7, 0.6, 0.5], "snow": [0.8, 0.8, 0.8, 0.8, 0.3]}
THEIRS = {"fog": [0.7, 0.6, 0.4, 0.3, 0.0], "snow": [0.9, 0.9, 0.9, 0.9, 0.9]}


def test_the_mean_error_is_over_corruptions_and_severities():
    assert robustness.error(OURS["fog"]) == pytest.approx(0.3)
    assert robustness.mean_error(OURS) == pytest.approx((0.3 + 0.3) / 2)


def test_corruption_errors_by_hand():
    """Errors of fog: 1.5 against 3.0, of snow: 1.5 against 0.5; less 5 times 0.1 and 0.05 on clean pictures."""
    result = robustness.normalized(OURS, 0.9, THEIRS, 0.95)
    assert result.errors == pytest.approx({"fog": 0.5, "snow": 3.0})
    assert result.mean == pytest.approx(1.75)
    assert result.relative == pytest.approx({"fog": 1.0 / 2.75, "snow": 1.0 / 0.25})
    assert result.relative_mean == pytest.approx((1 / 2.75 + 4) / 2)


def test_a_baseline_without_errors_normalizes_nothing():
    perfect = {"fog": [1.0] * 5, "snow": THEIRS["snow"]}
    result = robustness.normalized(OURS, 0.9, perfect, 0.9)
    assert result.errors == {"fog": None, "snow": pytest.approx(3)}
    assert result.mean is None
    assert result.relative["snow"] is None  # its error is that on clean pictures


def test_a_model_is_its_own_baseline():
    result = robustness.normalized(OURS, 0.95, OURS, 0.95)
    assert (result.mean, result.relative_mean) == (pytest.approx(1), pytest.approx(1))
