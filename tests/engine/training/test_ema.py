import json
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

import eval as eval_script
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.training.ema import MovingAverage, averaged
from engine.training.step import train_step
from engine.weights import pdparams
from models import build_model
from tests.support import archives
from tests.support.runs import script, train
from tests.support.states import new_state

DECAY = 0.9

pytestmark = pytest.mark.usefixtures("nano", "no_figures")


def new_average(model, decay=DECAY, masters=None):
    return MovingAverage(model, SimpleNamespace(masters=lambda: masters or {}), decay)


def values(model):
    return {key: parameter.numpy() for key, parameter in model.named_parameters()}


def test_the_average_is_the_one_computed_by_hand():
    """With a decay of 0.3, steps 1 to 3 still warm up: 2/11, 3/12, 4/13; the fourth would have 5/14."""
    model = paddle.nn.Linear(1, 1)
    model.weight.set_value(np.float32([[1.0]]))
    average, expected = new_average(model, decay=0.3), 1.0
    for step, (weight, decay) in enumerate([(2.0, 2 / 11), (4.0, 3 / 12), (-3.0, 0.3), (5.0, 0.3)], start=1):
        model.weight.set_value(np.float32([[weight]]))
        average.update(step)
        expected = decay * expected + (1 - decay) * weight
        np.testing.assert_allclose(average.parameters()["weight"].numpy(), [[expected]], rtol=1e-6)


def test_each_step_moves_the_average_of_every_parameter():
    paddle.seed(1)
    model = build_model("regionvit_micro_32", num_classes=3)
    state = new_state(model, learning_rate=0.01, weight_decay=0.0, total_steps=9, ema_decay=DECAY)
    expected = values(model)
    for step in range(3):
        state.step = step
        train_step(state, [(paddle.rand([2, 3, 32, 32]), paddle.to_tensor([0, 1]))], LabelSmoothingCrossEntropy())
        decay = (2 + step) / (11 + step)
        expected = {key: decay * expected[key] + (1 - decay) * value for key, value in values(model).items()}
    averages = state.average.arrays()
    assert list(averages) == list(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(averages[key], value, rtol=1e-5, atol=1e-7)


def test_an_update_reads_nothing_back_from_the_device(monkeypatch):
    average = new_average(paddle.nn.Linear(3, 2))

    def read(*arguments):
        raise AssertionError("read back")

    for name in ("numpy", "item", "tolist", "__float__", "__bool__", "__array__"):
        monkeypatch.setattr(paddle.Tensor, name, read)
    average.update(1)


class Sixteen(paddle.nn.Layer):
    """Weights of 16 bits, others of 32, and an integer buffer."""

    def __init__(self):
        super().__init__()
        self.narrow = self.create_parameter([2], "bfloat16")
        self.wide = self.create_parameter([3], "float32")
        self.register_buffer("count", paddle.to_tensor([7]))


def test_sixteen_bit_weights_are_averaged_as_the_optimizer_has_them_in_float32():
    model = Sixteen()
    with paddle.no_grad():
        paddle.assign(paddle.to_tensor([1.0, 2.0]).astype("bfloat16"), model.narrow)
        paddle.assign(paddle.to_tensor([3.0, 4.0, 5.0]), model.wide)
    average = new_average(model)
    masters = {model.narrow.name: paddle.to_tensor([1.001, 2.001])}  # no bfloat16 numbers
    average.optimizer.masters = lambda: masters
    average.update(1)
    averages = average.arrays()
    assert averages["narrow"].dtype == averages["wide"].dtype == np.float32
    np.testing.assert_allclose(averages["narrow"], [1 + 0.001 * 9 / 11, 2 + 0.001 * 9 / 11], rtol=1e-6)
    np.testing.assert_array_equal(averages["wide"], np.float32([3, 4, 5]))
    with average.in_the_model():
        assert model.narrow.dtype == paddle.bfloat16
        assert model.narrow.astype("float32").tolist() == [1.0, 2.0]
    state_dict = average.state_dict()
    assert state_dict["narrow"].dtype == paddle.float32
    assert state_dict["count"].tolist() == [7]
    assert state_dict["count"].dtype == paddle.int64


def new_run():
    """The state of a small run after a step."""
    paddle.seed(1)
    model = build_model("regionvit_micro_32", num_classes=3)
    state = new_state(model, learning_rate=0.01, weight_decay=0.0, total_steps=9, ema_decay=DECAY)
    train_step(state, [(paddle.rand([2, 3, 32, 32]), paddle.to_tensor([0, 1]))], LabelSmoothingCrossEntropy())
    return state


def test_the_model_has_the_averages_within_and_its_own_bits_afterwards():
    state = new_run()
    before, averages = values(state.model), state.average.arrays()
    with averaged(state.average):
        np.testing.assert_equal(values(state.model), averages)
        assert any(not np.array_equal(before[key], averages[key]) for key in before)
    np.testing.assert_equal(values(state.model), before)
    with pytest.raises(KeyboardInterrupt), averaged(state.average):
        raise KeyboardInterrupt
    np.testing.assert_equal(values(state.model), before)
    np.testing.assert_equal(state.average.arrays(), averages)


def test_training_continues_in_place_after_it():
    """The optimizer updates the tensors that the model has, not copies that were exchanged."""
    with_validation, without = new_run(), new_run()
    with averaged(with_validation.average):
        pass
    for state in (with_validation, without):
        paddle.seed(3)
        train_step(state, [(paddle.rand([2, 3, 32, 32]), paddle.to_tensor([0, 1]))], LabelSmoothingCrossEntropy())
    np.testing.assert_equal(values(with_validation.model), values(without.model))


def test_without_a_decay_the_model_is_left_alone():
    model = paddle.nn.Linear(2, 2)
    model.num_classes = 2
    state = new_state(model, learning_rate=0.01, weight_decay=0.0, total_steps=9)
    assert state.average is None
    with averaged(state.average):
        pass


def test_its_state_dict_has_the_models_names_and_loads_into_one(tmp_path):
    state = new_run()
    averages = state.average.state_dict()
    assert list(averages) == list(state.model.state_dict())
    pdparams.save({tmp_path / "w.pdparams": averages})
    model = build_model("regionvit_micro_32", num_classes=3)
    pdparams.load_weights(model, tmp_path / "w.pdparams")
    np.testing.assert_equal(values(model), state.average.arrays())


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=48, test=21))


@pytest.mark.parametrize("to_static", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_the_averages_are_validated_and_kept_and_the_weights_lie_in_the_checkpoint(
    to_static, archive, tmp_path, monkeypatch
):
    train(monkeypatch, archive, tmp_path, f"train.ema_decay={DECAY}", "train.epochs=1", f"train.to_static={to_static}")
    script(monkeypatch, eval_script.main, "--weights", tmp_path / "best_model.pdparams")
    measured = json.loads((tmp_path / "eval.json").read_text(encoding="utf-8"))
    log = (tmp_path / "train.log").read_text(encoding="utf-8")
    losses = f"loss: {measured['loss']:.5f}, cross_entropy: {measured['cross_entropy']:.5f}"
    assert f"{losses}, top1: {measured['top1']:.5f}, train_loss" in log
    assert "best_model and final_model: the moving average of the weights, with a decay of 0.9" in log
    files = [tmp_path / f"{name}.pdparams" for name in ("best_model", "final_model", "latest")]
    best, final, latest = map(pdparams.read, files)
    averages = pdparams.load(tmp_path / "latest.pdstates")["average"]
    for key, value in averages.items():
        np.testing.assert_array_equal(final[key], value)
        np.testing.assert_array_equal(best[key], value)
    assert any(not np.array_equal(latest[key], value) for key, value in averages.items())
