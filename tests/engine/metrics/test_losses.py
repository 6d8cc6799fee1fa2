import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from engine.metrics.losses import LabelSmoothingCrossEntropy, _mean


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_label_smoothing_is_the_written_formula(smoothing):
    logits = np.random.RandomState(0).standard_normal((5, 7)).astype("float32")
    labels = np.array([0, 6, 3, 3, 1])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = np.mean((1 - smoothing) * -log_p[np.arange(5), labels] + smoothing * -log_p.mean(axis=1))
    loss = LabelSmoothingCrossEntropy(smoothing)(paddle.to_tensor(logits), paddle.to_tensor(labels))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_may_be_shares_of_the_classes(smoothing):
    rng = np.random.RandomState(0)
    logits, shares = rng.standard_normal((5, 7)).astype("float32"), rng.dirichlet(np.ones(7), 5).astype("float32")
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(((1 - smoothing) * shares + smoothing / 7) * log_p).sum(axis=1).mean()
    loss = LabelSmoothingCrossEntropy(smoothing)(paddle.to_tensor(logits), paddle.to_tensor(shares))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_whole_shares_are_the_labels_themselves():
    logits, labels = paddle.randn([6, 7]), paddle.to_tensor([0, 6, 3, 3, 1, 2])
    criterion, losses, gradients = LabelSmoothingCrossEntropy(0.1), [], []
    for target in (labels, F.one_hot(labels, 7)):
        x = paddle.to_tensor(logits.numpy(), stop_gradient=False)
        loss = criterion(x, target)
        loss.backward()
        losses.append(loss.item())
        gradients.append(x.grad.numpy())
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    np.testing.assert_allclose(*gradients, atol=1e-7)


def test_the_mean_of_a_million_equal_numbers_is_right():
    """Paddle's own mean of these is wrong by a per cent on a CPU."""
    logits, labels = paddle.zeros([30_000, 100]), paddle.zeros([30_000], "int64")
    assert LabelSmoothingCrossEntropy(0.9)(logits, labels).item() == pytest.approx(np.log(100), rel=1e-4)


@pytest.mark.parametrize("count", [100_001, 200_003])
def test_the_mean_of_many_ones_is_one_on_every_paddle(count):
    assert _mean(paddle.ones([count])).item() == 1


def test_an_impossible_smoothing_is_refused():
    with pytest.raises(ValueError, match="smoothing 1"):  # a mistake in a program, not in input
        LabelSmoothingCrossEntropy(1)
