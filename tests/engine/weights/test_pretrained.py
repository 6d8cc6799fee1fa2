"""New runs and models that start from the weights in a file."""

import json
import os
import pickle

import numpy as np
import paddle
import pytest

from engine.errors import UserError
from engine.system.atomic import sha256sum
from engine.weights import pdparams, pretrained
from engine.weights.pdparams import CheckpointError
from models import build_model
from tests.support import archives
from tests.support.errors import one_line_about, refuses
from tests.support.runs import NANO, assert_same_run, resume, send_signal_in, train

pytestmark = pytest.mark.usefixtures("nano", "no_figures")
HEAD = ("head.weight", "head.bias")
WIDE = {"kernel_sizes": (7, 7)}  # another window size than the 4 of the small model


def build(num_classes=10, **overrides):
    return build_model("regionvit", **{**NANO, **overrides}, num_classes=num_classes)


def values(model):
    return {key: value.numpy() for key, value in model.named_parameters()}


def arrays(num_classes=1000, **overrides):
    """Weights of the small model that differ from all those with which it would start by itself."""
    paddle.seed(7)
    rng = np.random.default_rng(7)
    return {
        key: value + 0.01 * rng.random(value.shape, "float32")
        for key, value in values(build(num_classes, **overrides)).items()
    }


def write(file, state):
    paddle.save({key: paddle.to_tensor(value) for key, value in state.items()}, str(file))
    return str(file)


# A model.


def test_a_head_for_other_classes_stays_newly_initialized_and_is_named(tmp_path):
    file, model = write(tmp_path / "imagenet.pdparams", arrays(1000)), build()
    expected = {**arrays(1000), **{key: values(model)[key] for key in HEAD}}
    lines, origin = pretrained.start(model, file)
    np.testing.assert_equal(values(model), expected)
    assert len(lines) == 2
    assert all(word in lines[1] for word in (*HEAD, "1000 classes", file, "10 here"))
    assert origin == {"pretrained_sha256": sha256sum(file)}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_head_for_as_many_classes_is_used(tmp_path, dtype):
    state, model = {key: value.astype(dtype) for key, value in arrays(10).items()}, build()
    lines, _ = pretrained.start(model, write(tmp_path / "w.pdparams", state))
    np.testing.assert_equal(values(model), {key: value.astype("float32") for key, value in state.items()})
    assert len(lines) == 1  # none about a new head


def note(file, classes):
    """Note the names of classes as a run would, which has this file of weights."""
    (file.parent / "environment.json").write_text(json.dumps({"archive": {"classes": classes}}), encoding="utf-8")


def test_a_head_for_the_same_classes_is_used_and_the_log_says_so(tmp_path):
    file, model, names = tmp_path / "w.pdparams", build(3), ["ant", "bee", "cat"]
    note(file, names)
    lines, _ = pretrained.start(model, write(file, arrays(3)), classes=names)
    np.testing.assert_equal(values(model), arrays(3))
    assert lines[1] == f"{', '.join(HEAD)}: kept: for the same classes"


def test_a_head_for_the_same_classes_in_another_order_is_brought_into_that_of_the_data(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch_0001"  # whose classes are noted in its run
    checkpoint.mkdir(parents=True)
    note(tmp_path / "run" / "w", ["cat", "ant", "bee"])
    file, model, state = checkpoint / "latest.pdparams", build(3), arrays(3)
    lines, _ = pretrained.start(model, write(file, state), classes=["ant", "bee", "cat"])
    for key in HEAD:
        np.testing.assert_equal(values(model)[key], state[key][..., [1, 2, 0]])
    np.testing.assert_equal(values(model)["norm.weight"], state["norm.weight"])
    assert str(file) in lines[1]
    assert "order" in lines[1]


def test_a_head_for_as_many_other_classes_is_not_used(tmp_path):
    file, model = tmp_path / "w.pdparams", build(3)
    note(file, ["cat", "ant", "bee"])
    expected = {**arrays(3), **{key: values(model)[key] for key in HEAD}}
    lines, _ = pretrained.start(model, write(file, arrays(3)), classes=["cat", "dog", "eel"])
    np.testing.assert_equal(values(model), expected)
    assert all(text in lines[1] for text in ("newly initialized", "cat, ant, bee", "cat, dog, eel"))


@pytest.mark.parametrize("noted", [None, ["a", "b"], ["a", "b", 3], "abc"], ids=str)
def test_a_head_whose_classes_are_not_known_is_used_and_the_log_says_so(tmp_path, noted):
    file, model = tmp_path / "w.pdparams", build(3)
    if noted:
        note(file, noted)
    lines, _ = pretrained.start(model, write(file, arrays(3)), classes=["a", "b", "c"])
    np.testing.assert_equal(values(model), arrays(3))
    assert "not known" in lines[1]


def test_weights_without_a_head_are_enough(tmp_path):
    file, model = write(tmp_path / "w.pdparams", arrays(num_classes=0)), build()
    lines, _ = pretrained.start(model, file)
    np.testing.assert_equal(values(model), {**arrays(0), **{key: values(model)[key] for key in HEAD}})
    assert lines[1].startswith(", ".join(HEAD))


def test_without_a_file_a_model_stays_as_it_was():
    model = build()
    before = values(model)
    assert pretrained.start(model, "") == ([], {})
    np.testing.assert_equal(values(model), before)


class Attack:
    def __reduce__(self):
        return os.system, ("touch pwned",)


RESAMPLE = "train.pretrained_resample=true"
SPOILT = {
    "missing": (lambda s: s.pop("norm.weight"), ["1 missing: norm.weight"]),
    "unexpected": (lambda s: s.update(extra=s["norm.bias"]), ["1 unexpected: extra"]),
    "shape": (lambda s: s.update({"norm.bias": np.ones(3, "f4")}), ["1 of another shape: norm.bias [3] (model: [32])"]),
    "half a head": (lambda s: s.pop("head.bias"), ["1 missing: head.bias", "head.weight [32, 1000] (model: [32, 10])"]),
    "two heads": (lambda s: s.update({"head.bias": np.ones(9, "f4")}), ["2 of another shape: head.weight", "[9]"]),
    "wide head": (lambda s: s.update({"head.weight": np.ones([8, 1000], "f4")}), ["head.weight [8, 1000]"]),
    "NaN": (lambda s: s.update({"norm.bias": np.full(32, np.nan, "f4")}), ["NaN", "norm.bias"]),
    "two projections": (
        lambda s: s.update({"layers.1.block.0.proj_cls.2.bias": np.ones(32, "f4")}),
        ["layers.1.block.0.proj_cls.2.bias and layers.1.block.0.proj.2.bias"],
    ),
    "window": (lambda s: s.update(arrays(**WIDE)), ["cls_token.proj.weight [16, 3, 28, 28]", RESAMPLE]),
    "window and more": (
        lambda s: (s.update(arrays(**WIDE)), s.pop("norm.weight")),
        ["rel_pos", "missing: norm.weight"],
    ),
}


def refused(file, resampling=False, kind=CheckpointError):
    """Start a model from a file, which has to be refused and to leave the model alone; return the line."""
    model = build()
    before = values(model)
    with refuses(kind, key="train.pretrained", value=str(file), place=file) as caught:
        pretrained.start(model, str(file), resampling)
    np.testing.assert_equal(values(model), before)
    assert str(file) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("spoil", "details"), SPOILT.values(), ids=SPOILT)
def test_every_other_mismatch_is_refused_by_name(tmp_path, spoil, details):
    state = arrays()
    spoil(state)
    error = refused(write(tmp_path / "w.pdparams", state))
    assert all(detail in error for detail in details), error
    assert (RESAMPLE in error) == (RESAMPLE in details)


FILES = {
    "text": (b"some text", "not a file of Paddle weights"),
    "cut": (pickle.dumps({"norm.bias": np.zeros(1000)})[:-500], "not a file of Paddle weights"),
    "attack": (pickle.dumps({"norm.bias": Attack()}), "posix.system"),
    "list": (pickle.dumps([1]), "list"),
}


@pytest.mark.parametrize(("raw", "detail"), FILES.values(), ids=FILES)
def test_a_file_that_does_not_hold_weights_is_refused(tmp_path, monkeypatch, raw, detail):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pdparams").write_bytes(raw)
    assert detail in refused(tmp_path / "w.pdparams")
    assert os.listdir() == ["w.pdparams"]


def test_a_folder_is_not_a_file_of_weights(tmp_path):
    refused(tmp_path)


def test_a_missing_file_is_refused_with_the_tool_that_converts_official_ones(tmp_path):
    assert "tools/convert_weights.py" in refused(tmp_path / "w.pdparams", kind=UserError)


def test_resampling_without_weights_is_refused():
    with refuses(UserError, key="train.pretrained_resample", value=True):
        pretrained.start(build(), "", resampling=True)


def test_processes_that_read_different_files_are_refused(tmp_path, monkeypatch):
    file, asked = write(tmp_path / "w.pdparams", arrays()), []
    monkeypatch.setattr(pretrained.processes, "agree", lambda *numbers: asked.append(numbers))
    for classes in (["a"], ["b"]):
        note(tmp_path / "w.pdparams", classes)
        with refuses(UserError, key="train.pretrained", value=file):
            pretrained.start(build(), file)
    assert {numbers[0] for numbers in asked} == {int(sha256sum(file)[:15], 16)}
    assert len(set(asked)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"layers.0.block.1.attn.rel_pos": np.ones([2, 49], "f4")},
        {"layers.0.block.1.attn.rel_pos": np.ones([1, 50], "f4")},
        {"cls_token.proj.weight": np.ones([16, 4, 28, 28], "f4")},
        {"cls_token.proj.weight": np.ones([16, 3, 28, 24], "f4")},
        {"patch_embed.proj.0.weight": np.ones([4, 3, 5, 5], "f4")},
    ],
    ids=["heads", "no square", "channels", "no square patch", "local patch"],
)
def test_what_no_resampling_makes_fit_is_refused(tmp_path, change):
    error = refused(write(tmp_path / "w.pdparams", {**arrays(**WIDE), **change}), resampling=True)
    (key,) = change
    assert f"1 of another shape: {key} {list(change[key].shape)}" in error


def test_weights_of_another_window_size_and_without_peg_are_made_to_fit(tmp_path):
    file, model = write(tmp_path / "w.pdparams", arrays(**WIDE)), build(peg=True)
    lines, _ = pretrained.start(model, file, resampling=True)
    assert values(model)["cls_token.proj.weight"].shape == (16, 3, 16, 16)
    assert not values(model)["layers.1.peg.weight"].any()
    resampled = "cls_token.proj.weight, layers.0.block.1.attn.rel_pos, layers.1.block.1.attn.rel_pos: "
    assert [line.startswith(resampled) for line in lines] == [False, False, True, False]
    assert lines[3].startswith("layers.0.peg.weight, layers.1.peg.weight: ")
    model(paddle.rand([2, 3, 32, 32])).square().sum().backward()
    assert model.layers[0].peg.weight.grad.abs().sum().item() > 0  # it learns, although it starts at 0


def test_resampling_changes_nothing_of_weights_that_fit(tmp_path):
    file, models = write(tmp_path / "w.pdparams", arrays(10)), (build(), build())
    lines, _ = pretrained.start(models[0], file, resampling=True)
    assert lines == pretrained.start(models[1], file)[0]
    np.testing.assert_equal(*map(values, models))


# A run.


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=100, test=21))


@pytest.fixture(scope="module")
def runs(archive, tmp_path_factory):
    """A folder with the weights `w.pdparams`, `whole`: a run from them, and `fresh`: an epoch from random weights."""
    folder = tmp_path_factory.mktemp("runs")
    file = write(folder / "w.pdparams", arrays())
    with pytest.MonkeyPatch.context() as patch:
        train(patch, archive, folder / "whole", f"train.pretrained={file}", *SETTINGS)
        train(patch, archive, folder / "fresh", "train.epochs=1", *SETTINGS)
    return folder


SETTINGS = ("model.drop_rate=0.1", "train.keep_checkpoints=9")


def test_a_run_starts_from_the_file_with_the_head_of_a_fresh_run_and_notes_its_checksum(runs):
    files = [runs / name / "checkpoints/epoch_0000_step_00000000/latest.pdparams" for name in ("whole", "fresh")]
    found, fresh = (pdparams.first_names(pdparams.read(file), file) for file in files)
    np.testing.assert_equal(found, {**arrays(), **{key: fresh[key] for key in HEAD}})
    noted, without = (
        json.loads((runs / name / "environment.json").read_text(encoding="utf-8")) for name in ("whole", "fresh")
    )
    assert noted["pretrained_sha256"] == sha256sum(runs / "w.pdparams")
    assert "pretrained_sha256" not in without
    lines, _ = pretrained.start(build(), str(runs / "w.pdparams"))
    log = (runs / "whole" / "train.log").read_text(encoding="utf-8")
    assert all(line in log for line in lines)


@pytest.mark.parametrize("step", [pytest.param(0, marks=pytest.mark.slow), 7])
def test_resume_is_bit_exact_and_needs_the_file_no_more(runs, archive, tmp_path, monkeypatch, step):
    file = write(tmp_path / "w.pdparams", arrays())
    with monkeypatch.context() as patch:
        send_signal_in(patch, step, 15)
        with pytest.raises(SystemExit):
            train(patch, archive, tmp_path / "run", f"train.pretrained={file}", *SETTINGS)
    noted = json.loads((tmp_path / "run" / "environment.json").read_text(encoding="utf-8"))["pretrained_sha256"]
    os.unlink(file)
    resume(monkeypatch, tmp_path / "run")
    assert_same_run(tmp_path / "run", runs / "whole")
    assert json.loads((tmp_path / "run" / "environment.json").read_text(encoding="utf-8"))["pretrained_sha256"] == noted


def test_a_resumed_run_keeps_to_what_it_started_from(runs, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, runs / "fresh", "-o", "train.pretrained=w.pdparams")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "train.pretrained", "w.pdparams")


def test_a_run_from_weights_that_do_not_fit_ends_in_one_line_and_creates_nothing(
    archive, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write("w.pdparams", {**arrays(), "norm.bias": np.ones(3, "f4")})
    with pytest.raises(SystemExit) as exit:
        train(monkeypatch, archive, "run", "train.pretrained=w.pdparams")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "train.pretrained", "w.pdparams", "norm.bias")
    assert os.listdir() == ["w.pdparams"]


def test_a_run_with_resampled_weights_and_a_new_peg_trains(archive, tmp_path, monkeypatch):
    file = write(tmp_path / "w.pdparams", arrays(**WIDE))
    monkeypatch.setitem(NANO, "peg", True)
    train(monkeypatch, archive, tmp_path / "run", f"train.pretrained={file}", RESAMPLE, "train.epochs=1")
    trained = pdparams.read(tmp_path / "run" / "final_model.pdparams")
    assert trained["cls_token.proj.weight"].shape == (16, 3, 16, 16)
    assert trained["layers.0.peg.weight"].any()
