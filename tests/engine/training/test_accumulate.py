"""Batches accumulated per step move the weights as one large batch."""

import functools

import numpy as np
import paddle
import pytest

from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.training.step import gradient_norm, train_step
from models import build_model
from tests.support import archives
from tests.support.runs import NANO, points, train
from tests.support.states import new_state

CRITERION = LabelSmoothingCrossEntropy()


@functools.cache
def after_steps(parts, steps=2):
    """Train on 12 pictures per step, divided into batches; return the weights by name and the last step's results."""
    paddle.seed(5)
    model = build_model("regionvit", **NANO, num_classes=10)
    model.train()
    state = new_state(model, learning_rate=0.1, weight_decay=0.0, total_steps=10)
    # Adam would make whole steps of rounding where a gradient should be 0, as of the bias of keys.
    state.optimizer = paddle.optimizer.SGD(state.schedule, model.parameters())
    random = np.random.RandomState(0)
    for _ in range(steps):
        images = random.standard_normal((12, 3, 32, 32)).astype("float32")
        pieces = zip(np.split(images, parts), np.split(random.randint(0, 10, 12), parts), strict=True)
        batches = [tuple(map(paddle.to_tensor, piece)) for piece in pieces]
        loss, logits, labels = train_step(state, batches, CRITERION)
    weights = {key: parameter.numpy() for key, parameter in model.named_parameters()}
    return weights, [loss.item(), logits.numpy(), labels.numpy(), gradient_norm(model).item()]


@pytest.mark.parametrize("parts", [2, 3])
def test_small_batches_move_the_weights_as_one_big_batch(parts):
    (whole, last), (small, last_of_small) = after_steps(1), after_steps(parts)
    for key, weights in whole.items():
        np.testing.assert_allclose(small[key], weights, rtol=1e-6, atol=1e-7, err_msg=key)
    for found, expected in zip(last_of_small, last, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_batches_of_a_step_do_not_draw_the_same():
    paddle.seed(5)
    model = build_model("regionvit", **NANO, num_classes=10, drop_rate=0.5)
    model.train()
    state = new_state(model, learning_rate=0.1, weight_decay=0.0, total_steps=10)
    batch = paddle.ones([4, 3, 32, 32]), paddle.to_tensor([0, 1, 2, 3])
    first, second = train_step(state, [batch, batch], CRITERION)[1].numpy().reshape([2, 4, 10])
    assert np.abs(first - second).max() > 1e-2


@pytest.mark.usefixtures("nano", "no_figures")
@pytest.mark.parametrize("pipeline", ["host", pytest.param("fast", marks=pytest.mark.slow)])
def test_a_run_of_small_batches_is_the_run_of_the_big_ones(pipeline, tmp_path, monkeypatch):
    """36 pictures make 9 batches of 4: two steps of four, and one batch that is dropped."""
    archive = archives.write(tmp_path / "cifar.tar.gz", archives.members(train=36, test=21))
    settings = ["train.log_interval=1", f"data.pipeline={pipeline}"]
    train(monkeypatch, archive, tmp_path / "big", "data.batch_size=16", *settings)
    train(monkeypatch, archive, tmp_path / "small", "data.batch_size=4", "train.accumulate=4", *settings)
    big, small = (points(tmp_path / name) for name in ("big", "small"))
    assert len(big) == 6
    assert [(p[:4]) for p in small] == [(p[:4]) for p in big]
    np.testing.assert_allclose([p[4:] for p in small], [p[4:] for p in big], atol=1e-3)
    log = (tmp_path / "small" / "train.log").read_text(encoding="utf-8")
    assert "Processes: 1, each with 4 batches of 4: 16 pictures per step" in log
