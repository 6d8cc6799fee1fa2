import os
import pickle
import re

import numpy as np
import paddle
import pytest

from engine.config.options import OPTIMIZERS
from engine.output.checkpoints import Checkpoints
from engine.system.precision import MixedPrecision
from engine.training.state import progress, restore, weights_and_optimizer
from engine.weights import pdparams
from engine.weights.pdparams import CheckpointError
from models import build_model
from tests.support.errors import refuses
from tests.support.states import new_state

FREE = {
    "patch_size": 4,
    "embed_dim": [8, 8, 16],
    "depth": [1, 1],
    "num_heads": [1, 2],
    "kernel_sizes": [7, 7],
    "downsampling": ["c", "sc"],
    "num_classes": 3,
}


def model(**overrides):
    return build_model("regionvit", **{**FREE, **overrides})


def arrays(layer):
    return {key: value.numpy() for key, value in layer.state_dict().items()}


def assert_same(a, b):
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def only_first_names(state):
    return {key: value for key, value in state.items() if ".proj_cls." not in key}


@pytest.mark.parametrize(
    "rename",
    [
        dict,
        only_first_names,
        lambda state: {key.replace(".proj.", ".proj_cls.") if "block.0" in key else key: v for key, v in state.items()},
    ],
    ids=["both names", "first names", "second names"],
)
def test_weights_load_with_either_name_of_the_projection(tmp_path, rename):
    source, target = model(), model()
    paddle.save(rename(source.state_dict()), str(tmp_path / "w.pdparams"))
    pdparams.load_weights(target, tmp_path / "w.pdparams")
    assert_same(arrays(target), arrays(source))


def test_what_is_saved_loads_in_plain_paddle_too(tmp_path):
    source, target = model(), model()
    pdparams.save({tmp_path / "w.pdparams": source.state_dict()})
    target.set_state_dict(paddle.load(str(tmp_path / "w.pdparams")))
    assert_same(arrays(target), arrays(source))
    assert os.listdir(tmp_path) == ["w.pdparams"]


@pytest.mark.parametrize("form", ["arrays", "pairs", "numpy 1 module names", "half precision"])
def test_other_forms_of_state_dicts_load(tmp_path, form):
    source, target = model(), model()
    state = arrays(source)
    if form == "pairs":  # how Paddle writes tensors that are no parameters
        state = {key: (f"name_{i}", value) for i, (key, value) in enumerate(state.items())}
    if form == "half precision":
        state = {key: value.astype(np.float16) for key, value in state.items()}
    raw = pickle.dumps(state, protocol=2)
    if form == "numpy 1 module names":
        raw = raw.replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "w.pdparams").write_bytes(raw)
    pdparams.load_weights(target, tmp_path / "w.pdparams")
    for key, value in arrays(target).items():
        np.testing.assert_allclose(value, arrays(source)[key], atol=1e-3 if form == "half precision" else 0)


@pytest.mark.parametrize(
    ("spoil", "key", "detail"),
    [
        (lambda s: s.pop("norm.weight"), "norm.weight", "1 missing: norm.weight"),
        (lambda s: s.update(extra=s["norm.bias"]), "extra", "1 unexpected: extra"),
        (
            lambda s: s.update({"head.bias": np.zeros(4, "float32")}),
            "head.bias",
            "1 of another shape: head.bias [4] (model: [3])",
        ),
        (lambda s: s.update({"head.bias": np.zeros(3, "int64")}), "head.bias", "floating-point"),
        (lambda s: s.update({"head.bias": np.full(3, np.nan, "float32")}), "head.bias", "NaN"),
        (
            lambda s: s.update({"layers.1.block.0.proj_cls.2.bias": np.ones(16, "float32")}),
            "layers.1.block.0.proj_cls.2.bias",
            "layers.1.block.0.proj.2.bias",
        ),
    ],
    ids=["missing", "unexpected", "shape", "type", "not finite", "projection"],
)
def test_weights_that_do_not_fit_are_refused_with_a_list(tmp_path, spoil, key, detail):
    source, target = model(), model()
    state, before = arrays(source), arrays(target)
    spoil(state)
    paddle.save(state, str(tmp_path / "w.pdparams"))
    with refuses(CheckpointError, key=key, place=tmp_path / "w.pdparams") as caught:
        pdparams.load_weights(target, tmp_path / "w.pdparams")
    assert str(tmp_path / "w.pdparams") in str(caught.value)
    assert detail in str(caught.value)
    assert_same(arrays(target), before)


def test_weights_of_another_variant_are_refused(tmp_path):
    pdparams.save({tmp_path / "w.pdparams": build_model("regionvit_micro_32", num_classes=10).state_dict()})
    with paddle.LazyGuard():
        target = build_model("regionvit_tiny_224", num_classes=10)
    with refuses(CheckpointError, place=tmp_path / "w.pdparams") as caught:
        pdparams.load_weights(target, tmp_path / "w.pdparams")
    assert re.search(r"missing: .* unexpected: .* of another shape: ", str(caught.value))


class Attack:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize(
    ("raw", "fields", "detail"),
    [
        (pickle.dumps({"norm.weight": Attack()}), {"key": None}, "posix.system"),
        (pickle.dumps([1, 2]), {"key": None, "value": "list"}, "list"),
        (pickle.dumps({"a": "text"}), {"key": "a"}, "a"),
        (pickle.dumps({1: np.zeros(3, "float32")}), {"key": "1"}, "1"),
        (b"some text", {"key": None, "value": None}, "damaged"),
        (b"", {"key": None, "value": None}, "damaged"),
        (pickle.dumps({"a": np.zeros(1000)})[:-500], {"key": None, "value": None}, "damaged"),
    ],
    ids=["attack", "list", "text in it", "number for a name", "text", "empty", "truncated"],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path, monkeypatch, raw, fields, detail):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pdparams").write_bytes(raw)
    with refuses(CheckpointError, place="w.pdparams", **fields) as caught:
        pdparams.load_weights(model(), "w.pdparams")
    assert detail in str(caught.value)
    assert os.listdir() == ["w.pdparams"]


@pytest.mark.parametrize(
    ("crash", "raised"),
    [(KeyboardInterrupt, KeyboardInterrupt), (OSError(28, "No space left on device"), CheckpointError)],
)
def test_a_crash_while_saving_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch, crash, raised):
    pdparams.save({tmp_path / "w.pdparams": model().state_dict()})
    before = (tmp_path / "w.pdparams").read_bytes()

    def save_half(state, path):
        with open(path, "wb") as stream:
            stream.write(b"half")
        raise crash

    monkeypatch.setattr(paddle, "save", save_half)
    with pytest.raises(raised):
        pdparams.save({tmp_path / "w.pdparams": model().state_dict()})
    assert (tmp_path / "w.pdparams").read_bytes() == before
    assert os.listdir(tmp_path) == ["w.pdparams"]


def test_files_that_belong_together_are_all_new_or_all_old(tmp_path, monkeypatch):
    pair = tmp_path / "w.pdparams", tmp_path / "o.pdopt"
    pdparams.save({file: {"a": np.zeros(3)} for file in pair})
    before = [file.read_bytes() for file in pair]

    def save(state, path, original=paddle.save):
        if "o.pdopt" in path:
            raise OSError(28, "No space left on device")
        original(state, path)

    monkeypatch.setattr(paddle, "save", save)
    with refuses(CheckpointError, place=pair[0]) as caught:
        pdparams.save({file: {"a": np.ones(3)} for file in pair})
    assert all(str(file) in str(caught.value) for file in pair)
    assert [file.read_bytes() for file in pair] == before
    assert sorted(os.listdir(tmp_path)) == ["o.pdopt", "w.pdparams"]


def test_weights_reach_a_model_whose_state_dict_holds_copies(tmp_path):
    source, target = model(), model()
    pdparams.save({tmp_path / "w.pdparams": source.state_dict()})
    # As Paddle's amp.decorate does with save_dtype.
    target.register_state_dict_hook(lambda state: state.update({key: state[key].clone() for key in state}))
    pdparams.load_weights(target, tmp_path / "w.pdparams")
    np.testing.assert_array_equal(target.head.weight.numpy(), source.head.weight.numpy())


def test_optimizer_state_is_keyed_by_the_models_names():
    states = []
    for _ in range(2):  # the second model's layers have other generated names
        paddle.seed(3)
        layer = model()
        state = new_state(layer, learning_rate=0.1, weight_decay=0.0, total_steps=4)
        layer(paddle.ones([1, 3, 56, 56])).sum().backward()
        state.optimizer.step()
        states.append(pdparams.optimizer_state(state.optimizer, layer))
    assert list(states[0]) == list(states[1])
    assert "head.weight.moment1_0" in states[0]
    assert states[0]["LR_Scheduler"]["last_lr"] == 0.1
    names = [key for key, _ in layer.named_parameters()]
    for kind in ("moment1_0", "moment2_0", "beta1_pow_acc_0", "beta2_pow_acc_0"):
        assert [f"{name}.{kind}" in states[0] for name in names] == [True] * len(names)


def trained(steps, **options):
    """A state that has made some steps, and one that has made none; the layers of both have other generated names."""
    states = []
    for count in (steps, 0):
        paddle.seed(3)
        layer = model()
        state = new_state(layer, learning_rate=0.1, weight_decay=1e-4, total_steps=9, **options)
        for _ in range(count):
            step(state)
        states.append(state)
    return states


def step(state):
    state.model(paddle.ones([1, 3, 56, 56])).square().sum().backward()
    state.optimizer.step()
    state.optimizer.clear_grad()
    state.schedule.step()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 3])
def test_a_loaded_optimizer_goes_on_bit_for_bit(tmp_path, steps, optimizer):
    source, target = trained(steps, optimizer=optimizer, warmup_steps=2, layer_decay=0.8, clip_norm=1.0)
    pdparams.save({tmp_path / "w.pdparams": source.model.state_dict()})
    pdparams.save({tmp_path / "o.pdopt": pdparams.optimizer_state(source.optimizer, source.model)})
    pdparams.load_weights(target.model, tmp_path / "w.pdparams")
    assert pdparams.load_optimizer(target.optimizer, target.model, tmp_path / "o.pdopt") == {}
    at_once = pdparams.optimizer_state(target.optimizer, target.model)
    np.testing.assert_equal(at_once, pdparams.load(tmp_path / "o.pdopt"))
    for state in (source, target):
        step(state)
    assert_same(arrays(target.model), arrays(source.model))
    ours, theirs = (pdparams.optimizer_state(s.optimizer, s.model) for s in (target, source))
    assert list(ours) == list(theirs)
    assert ours.pop("LR_Scheduler") == theirs.pop("LR_Scheduler")
    for key in ours:
        np.testing.assert_array_equal(ours[key], theirs[key])


@pytest.mark.parametrize(
    ("spoil", "key"),
    [
        (lambda state: state.pop("head.weight.moment1_0"), "head.weight.moment1_0"),
        (lambda state: state.update({"tail.weight.moment1_0": np.zeros(2)}), "tail.weight.moment1_0"),
    ],
)
def test_an_optimizers_state_that_does_not_fit_is_refused(tmp_path, spoil, key):
    source, target = trained(1)
    state = pdparams.optimizer_state(source.optimizer, source.model)
    spoil(state)
    paddle.save(state, str(tmp_path / "o.pdopt"))
    with refuses(CheckpointError, key=key, place=tmp_path / "o.pdopt"):
        pdparams.load_optimizer(target.optimizer, target.model, tmp_path / "o.pdopt")


class OptimizerAtO2:
    """What Paddle's Adam holds at amp.level O2, where a CPU has no operator for it: names as its `optimizer.py` has."""

    def __init__(self, model):
        self.state = {"master_weights": {}}
        for key, parameter in model.named_parameters():
            name = parameter.name
            if "norm" not in key:
                name += "_fp32_master_0"
                self.state["master_weights"][parameter.name] = tensor = parameter * 2
                tensor.name = name
            self.state[f"{name}_moment1_0"] = parameter * 3

    def state_dict(self):
        return self.state

    def set_state_dict(self, state):
        self.loaded = state


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_master_weights_of_o2_come_back_under_the_names_that_paddle_looks_for_or_as_float32_parameters(tmp_path, level):
    """The file is as 0.2.0 wrote it: everything but norms had 16 bits."""
    source, target = model(), model()
    optimizers = OptimizerAtO2(source), OptimizerAtO2(target)
    pdparams.save({tmp_path / "o.pdopt": pdparams.optimizer_state(optimizers[0], source)})
    precision = MixedPrecision()
    precision.level = level
    precision.convert(target)
    pdparams.load_optimizer(optimizers[1], target, tmp_path / "o.pdopt")
    loaded, ours = optimizers[1].loaded, dict(source.named_parameters())
    masters = loaded.pop("master_weights", {})
    narrow = {key for key, parameter in target.named_parameters() if parameter.dtype == paddle.bfloat16}
    assert bool(narrow) == (level == "O2")
    assert len(loaded) == len(ours)
    for key, parameter in target.named_parameters():
        name = parameter.name + ("_fp32_master_0" if key in narrow else "")
        np.testing.assert_array_equal(loaded[f"{name}_moment1_0"], (ours[key] * 3).numpy())
        if key in narrow:
            assert masters[parameter.name].name == name
            np.testing.assert_array_equal(masters[parameter.name].numpy(), (ours[key] * 2).numpy())
        elif "norm" not in key:
            np.testing.assert_array_equal(parameter.numpy(), (ours[key] * 2).numpy())


def test_the_loss_scaler_goes_on_where_it_was(tmp_path):
    class Scaler:
        def state_dict(self):
            return {"scale": np.array([1024.0], "float32"), "incr_count": 7}

        def load_state_dict(self, state):
            self.loaded = state

    source, target = trained(1)
    for state in (source, target):
        state.precision.scaler = Scaler()
    weights, optimizer = weights_and_optimizer(source)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(weights, optimizer, progress(source), epoch=0, step=1)
    restore(target, checkpoints.newest()[0])
    np.testing.assert_equal(target.precision.scaler.loaded, Scaler().state_dict())
