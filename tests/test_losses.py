import numpy as np
import paddle
import pytest

from engine.losses import LabelSmoothingCrossEntropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_label_smoothing_is_the_written_formula(smoothing):
    logits = np.random.RandomState(0).standard_normal((5, 7)).astype("float32")
    labels = np.array([0, 6, 3, 3, 1])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = np.mean((1 - smoothing) * -log_p[np.arange(5), labels] + smoothing * -log_p.mean(axis=1))
    loss = LabelSmoothingCrossEntropy(smoothing)(paddle.to_tensor(logits), paddle.to_tensor(labels))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_an_impossible_smoothing_is_refused():
    with pytest.raises(ValueError, match="smoothing 1"):
        LabelSmoothingCrossEntropy(1)
