import numpy as np
import pytest

from engine.metrics.quality import Predictions, cross_entropy
from engine.metrics.temperature import LEAST, MOST, CannotFit, fit_temperature


@pytest.fixture(scope="module")
def calibrated():
    """Logits and labels drawn from their probabilities, so that the best temperature is 1 but for chance."""
    random = np.random.default_rng(0)
    logits = 3 * random.standard_normal((4000, 10))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return logits, (p.cumsum(axis=1) > random.random((4000, 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1, 4, 20])
def test_the_temperature_that_logits_were_made_with_is_found(calibrated, temperature):
    logits, labels = calibrated
    best = fit_temperature(logits, labels)
    assert best == pytest.approx(1, abs=0.05)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(best * temperature, rel=1e-4)
    assert fit_temperature((logits * temperature).astype("float32"), labels) == pytest.approx(
        best * temperature, rel=1e-4
    )


def test_no_other_temperature_is_better(calibrated):
    logits, labels = calibrated
    best = fit_temperature(logits, labels)
    least = cross_entropy(logits / best, labels)
    assert all(cross_entropy(logits / (best * factor), labels) > least for factor in (0.5, 0.98, 1.02, 2))


def test_constant_logits_get_the_frequencies_of_the_classes():
    frequencies, labels = np.array([0.5, 0.3, 0.2]), np.repeat([0, 1, 2], [5, 3, 2])
    logits = np.tile(0.4 * np.log(frequencies), (10, 1))
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(0.4, rel=1e-4)
    tempered = Predictions(np.full((10, 3), 1 / 3), labels, logits).tempered(temperature)
    np.testing.assert_allclose(tempered.probabilities, np.tile(frequencies, (10, 1)), atol=1e-4)
    assert tempered.cross_entropy() == pytest.approx(-(frequencies * np.log(frequencies)).sum(), abs=1e-6)


def test_where_the_cross_entropy_has_no_least_value_the_reason_is_said(calibrated):
    logits, labels = calibrated
    with pytest.raises(CannotFit, match="of 4000 pictures none is misclassified"):
        fit_temperature(logits, logits.argmax(axis=1))
    with pytest.raises(CannotFit, match="chance"):
        fit_temperature(logits, logits.argmin(axis=1))
    for factor in (LEAST / 10, MOST * 10):
        with pytest.raises(CannotFit, match=r"between 0\.01 and 100"):
            fit_temperature(factor * logits, labels)
    one_wrong = logits.argmax(axis=1)
    one_wrong[0] = np.argsort(logits[0])[-2]
    assert 0.01 < fit_temperature(logits, one_wrong) < 0.5


def test_a_temperature_changes_no_class(calibrated):
    logits, labels = calibrated
    logits = logits.astype("float32")
    logits[0] = 1  # all equal: the first counts
    plain = Predictions(np.exp(logits), labels, logits)
    for temperature in (0.01, 0.7, 100):
        np.testing.assert_array_equal(plain.tempered(temperature).predicted, plain.predicted)
