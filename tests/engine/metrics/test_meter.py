import numpy as np
import paddle
import pytest

from engine.metrics.evaluate import evaluate
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.metrics.meter import Meter


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


@pytest.mark.parametrize("num_classes", [2, 4])
def test_top5_of_few_classes_is_everything(num_classes):
    meter = Meter(num_classes)
    meter.update(paddle.to_tensor(1.0), paddle.rand([6, num_classes]), paddle.to_tensor([0, 1] * 3))
    assert meter.read()["top5"] == 1


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
