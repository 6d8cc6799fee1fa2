"""Mixed precision: the requests to a GPU, and a CPU's note that it has no effect."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from engine.errors import UserError
from engine.metrics.evaluate import evaluate
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.system import precision
from engine.system.precision import MixedPrecision
from engine.training.step import train_step
from models.layers import Conv2D, Linear
from tests.support.errors import refuses
from tests.support.reference import free_model
from tests.support.states import new_state


@pytest.fixture
def calls(monkeypatch):
    """Record the calls of Paddle's functions, as if there were a GPU."""
    calls = {}

    def record(name, result):
        def function(*arguments, **keywords):
            calls[name] = (arguments, keywords)
            return result

        return function

    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(paddle.amp, "GradScaler", record("GradScaler", object()))
    return calls


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("level", "device", "computes", "stores"),
    [
        ("O0", "gpu:0", False, False),
        ("O1", "gpu:0", True, False),
        ("O2", "gpu:0", True, True),
        ("O2", "cpu", False, False),
    ],
)
def test_a_model_computes_in_the_type_from_o1_on_and_stores_dense_weights_in_it_at_o2(
    calls, level, device, dtype, computes, stores
):
    model, wanted = free_model(peg=True), getattr(paddle, dtype)
    names = [parameter.name for parameter in model.parameters()]
    MixedPrecision(level, dtype, device).convert(model)
    assert model.computes_in == (wanted if computes else None)
    dense = {
        id(weight) for layer in model.sublayers() if isinstance(layer, Linear | Conv2D) for weight in layer.parameters()
    }
    assert 0 < len(dense) < len(names)
    for parameter in model.parameters():
        assert parameter.dtype == (wanted if stores and id(parameter) in dense else paddle.float32)
    assert [parameter.name for parameter in model.parameters()] == names


def test_a_state_dict_at_o2_is_float32_and_casts_each_weight_once(calls, monkeypatch):
    model = free_model()
    before = {key: weights.astype("bfloat16").astype("float32").numpy() for key, weights in model.state_dict().items()}
    MixedPrecision("O2", "bfloat16", "gpu:0").convert(model)
    casts, own = [], precision.as_type
    monkeypatch.setattr(precision, "as_type", lambda x, dtype: casts.append(x.dtype) or own(x, dtype))
    state = model.state_dict()
    narrow = [dtype for dtype in casts if dtype == paddle.bfloat16]
    assert len(narrow) == sum(parameter.dtype == paddle.bfloat16 for parameter in model.parameters())
    assert len(casts) == len(state)
    for key, weights in state.items():
        assert weights.dtype == paddle.float32
        np.testing.assert_allclose(weights.numpy(), before[key], rtol=1e-2)


@pytest.mark.parametrize(
    ("level", "dtype", "device", "scales"),
    [
        ("O1", "float16", "gpu:0", True),
        ("O2", "float16", "gpu:0", True),
        ("O1", "bfloat16", "gpu:0", False),
        ("O0", "float16", "gpu:0", False),
        ("O1", "float16", "cpu", False),
    ],
)
def test_the_loss_is_scaled_in_float16_on_a_gpu_only(calls, level, dtype, device, scales):
    MixedPrecision(level, dtype, device)
    assert calls["GradScaler"][1] == {"enable": scales}


@pytest.mark.parametrize(
    ("capability", "words"),
    [
        ((9, 0), "bfloat16 (O1)"),
        ((7, 5), "float16 (O1)"),
        ((6, 1), "float32 (amp.level O1 does nothing on this GPU, which lacks 16-bit arithmetic)"),
    ],
)
def test_auto_takes_the_best_that_the_gpu_has(calls, monkeypatch, capability, words):
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: capability >= (8, 0))
    monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda: capability)
    chosen = MixedPrecision("O1", "auto", "gpu:0")
    model = free_model()
    chosen.convert(model)
    assert chosen.describe() == words
    assert (model.computes_in is None) == words.startswith("float32")
    assert calls["GradScaler"][1] == {"enable": words.startswith("float16")}


def test_a_precision_that_the_gpu_lacks_is_refused(calls, monkeypatch):
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: False)
    with refuses(UserError, key="amp.dtype", value="bfloat16"):
        MixedPrecision("O1", "bfloat16", "gpu:0")


def test_the_loss_sees_float32_whatever_the_model_gives():
    class Model(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.linear, self.num_classes = paddle.nn.Linear(6, 3), 3

        def forward(self, x):
            return self.linear(x).astype("float64")

    seen = []

    def criterion(logits, labels):
        seen.append(logits.dtype)
        return LabelSmoothingCrossEntropy()(logits, labels)

    state = new_state(Model(), learning_rate=0.1, weight_decay=0.0, total_steps=4)
    images, labels = paddle.rand([4, 6]), paddle.to_tensor([0, 1, 2, 0])
    train_step(state, [(images, labels)], criterion)
    evaluate(state.model, [(images, labels)], criterion, 3)
    assert seen == [paddle.float32, paddle.float32]


@pytest.mark.parametrize(
    ("level", "device", "words"),
    [
        ("O0", "cpu", "float32"),
        ("O1", "cpu", "float32 (amp.level O1 does nothing on a CPU)"),
        ("O2", "gpu:0", "bfloat16 (O2)"),
    ],
)
def test_a_run_says_what_it_computes_in(calls, level, device, words):
    assert MixedPrecision(level, "bfloat16", device).describe() == words


@pytest.mark.parametrize(("name", "clip_norm", "accumulate"), [("Adam", 0, 1), ("Adam", 0.1, 2), ("AdamW", 0.1, 2)])
def test_a_step_scales_each_loss_for_its_backward_pass_and_lets_the_scaler_step(name, clip_norm, accumulate):
    class Scaler:
        """Scales by 8, removes the scale again, and records the order of calls."""

        def __init__(self):
            self.done = []

        def scale(self, loss):
            self.done.append("scale")
            return loss * 8

        def step(self, optimizer):
            self.done.append("step")
            for parameter in model.parameters():
                parameter.grad.set_value(parameter.grad / 8)
            optimizer.step()

        def update(self):
            self.done.append("update")

    batches = [(paddle.rand([4, 6]), paddle.to_tensor([0, 1, 2, 0])) for _ in range(accumulate)]
    results = []
    scaler = Scaler()
    for scaled in (False, True):
        paddle.seed(1)
        model = paddle.nn.Linear(6, 3)
        model.num_classes = 3
        options = {"optimizer": name, "clip_norm": clip_norm}
        state = new_state(model, learning_rate=0.1, weight_decay=0.01, total_steps=4, **options)
        if scaled:
            state.precision.scaler = scaler
        loss, *_ = train_step(state, batches, LabelSmoothingCrossEntropy())
        results.append((loss.item(), model.weight.numpy().tolist()))
    assert scaler.done == [*["scale"] * accumulate, "step", "update"]
    assert results[0] == results[1]  # 8 is a power of two: nothing is rounded


@pytest.mark.parametrize(("scale", "loss", "diverged"), [(1.0, float("nan"), False), (0.5, 1.0, True)])
def test_in_float16_skipped_steps_mean_divergence_only_when_they_go_on(scale, loss, diverged):
    scaled = MixedPrecision()
    scaled.scaler = SimpleNamespace(is_enable=lambda: True, state_dict=lambda: {"scale": np.array([scale])})
    assert scaled.has_diverged(loss) == diverged


@pytest.mark.parametrize(("loss", "diverged"), [(2.3, False), (float("nan"), True), (float("inf"), True)])
def test_without_a_scaler_a_loss_that_is_not_finite_is_divergence(loss, diverged):
    assert MixedPrecision().has_diverged(loss) == diverged
