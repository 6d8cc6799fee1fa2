import numpy as np
import paddle
import pytest

from engine.metrics.evaluate import evaluate
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.metrics.meter import Meter, ranks


def test_meter_counts_as_by_hand():
    logits = paddle.to_tensor([[9.0, 1, 2, 3, 4, 5, 6], [1, 9, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]])
    meter = Meter(num_classes=7)
    meter.update(paddle.to_tensor(1.0), logits[:2], paddle.to_tensor([0, 0]))  # hit; rank 7 of 7
    meter.update(paddle.to_tensor(4.0), logits[2:], paddle.to_tensor([2]))  # rank 5
    expected = {"loss": 2.0, "top1": 1 / 3, "top5": 2 / 3, "images": 3, "last_loss": 4.0}
    assert meter.read() == pytest.approx(expected)


def test_of_labels_that_are_shares_the_largest_counts():
    logits = paddle.to_tensor([[9.0, 1, 2], [1, 9, 2], [1, 2, 9]])
    meter = Meter(num_classes=3)
    meter.update(paddle.to_tensor(1.0), logits, paddle.to_tensor([[0.6, 0, 0.4], [0.6, 0.4, 0], [0, 0, 1]]))
    assert meter.read()["top1"] == pytest.approx(2 / 3)


def test_of_equal_shares_the_first_class_counts():
    meter = Meter(num_classes=3)
    meter.update(paddle.to_tensor(1.0), paddle.to_tensor([[1.0, 9, 2]] * 2), paddle.to_tensor([[0, 0.5, 0.5]] * 2))
    assert meter.read()["top1"] == 1


@pytest.mark.parametrize(("num_classes", "exists"), [(2, False), (5, False), (6, True)])
def test_five_or_fewer_classes_have_no_top5(num_classes, exists):
    meter = Meter(num_classes)
    meter.update(paddle.to_tensor(1.0), paddle.rand([6, num_classes]), paddle.to_tensor([0, 1] * 3))
    assert (meter.read()["top5"] is not None) == exists


def test_of_equal_logits_the_first_class_comes_first():
    logits = paddle.to_tensor([[0.0, 3, 3, 3], [3, 3, 0, 3], [7, 7, 7, 7]])
    assert [ranks(logits, paddle.full([3], i, "int64")).tolist() for i in range(4)] == [
        [3, 0, 0],
        [0, 1, 1],
        [1, 3, 2],
        [2, 2, 3],
    ]


def test_nan_is_no_hit():
    logits = paddle.full([4, 10], float("nan"))
    meter = Meter(10)
    meter.update(paddle.to_tensor(1.0), logits, paddle.to_tensor([0, 1, 2, 3]))
    assert (meter.read()["top1"], meter.read()["top5"]) == (0, 0)


def test_accuracy_confusion_and_predictions_agree_where_logits_tie():
    """Logits of 16 bits tie often, and softmax makes equal what nearly was."""
    rng = np.random.RandomState(0)
    logits = np.round(rng.standard_normal((4000, 10)) * 2).astype("float32") / 2
    logits[:100] *= 1e-9  # differ as logits, not as probabilities
    labels = rng.randint(0, 10, len(logits))
    batches = [(paddle.to_tensor(logits), paddle.to_tensor(labels))]
    result = evaluate(paddle.nn.Identity(), batches, LabelSmoothingCrossEntropy(), num_classes=10)
    confusion = result.predictions.confusion()
    np.testing.assert_array_equal(result.predictions.predicted, logits.argmax(axis=1))
    assert result.top1 == np.trace(confusion) / len(labels) == result.predictions.correct.mean()


def test_the_cross_entropy_is_the_loss_without_smoothing():
    logits, labels = paddle.to_tensor([[2.0, 0, -1], [0, 0, 90]]), paddle.to_tensor([0, 0])
    result = evaluate(paddle.nn.Identity(), [(logits, labels)], LabelSmoothingCrossEntropy(0.1), num_classes=3)
    by_hand = (np.log(np.exp(2) + 1 + np.exp(-1)) - 2 + 90) / 2  # the second probability is 0 in float32
    assert result.cross_entropy == pytest.approx(by_hand, rel=1e-6)
    # Not a logarithm of Paddle's, which ends at -64 on a CPU.
    assert result.loss == pytest.approx(LabelSmoothingCrossEntropy(0.1)(logits, labels).item(), rel=1e-6)
    logits = paddle.to_tensor(np.random.RandomState(0).standard_normal((30, 7)).astype("float32"))
    batches = [(logits, paddle.arange(30) % 7)]
    plain = evaluate(paddle.nn.Identity(), batches, LabelSmoothingCrossEntropy(0), num_classes=7)
    assert plain.loss == pytest.approx(plain.cross_entropy, rel=1e-6)


def test_mean_loss_is_per_picture_when_the_last_batch_is_smaller():
    x = np.random.RandomState(0).standard_normal((11, 5)).astype("float32")
    y = np.random.RandomState(1).randint(0, 5, 11)
    batches = [(paddle.to_tensor(x[i : i + 4]), paddle.to_tensor(y[i : i + 4])) for i in (0, 4, 8)]
    model, criterion = paddle.nn.Linear(5, 5), LabelSmoothingCrossEntropy()
    result = evaluate(model, batches, criterion, num_classes=5)
    whole = criterion(model(paddle.to_tensor(x)), paddle.to_tensor(y)).item()
    assert result.loss == pytest.approx(whole, abs=1e-6)
    assert result.images == 11
    assert result.ips > 0
