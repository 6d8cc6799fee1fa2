"""Runs that start from the weights in a file."""

import json
import os
import pickle

import numpy as np
import paddle
import pytest

from engine.system.atomic import sha256sum
from engine.weights import pdparams, pretrained
from models import build_model
from tests.support import archives
from tests.support.runs import NANO, assert_same_run, assert_same_weights, resume, send_signal_in, train

pytestmark = pytest.mark.usefixtures("nano")
HEAD = ("head.weight", "head.bias")
WIDE = {"kernel_sizes": (7, 7)}  # for a model of windows of 4 it is one of another window size


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=100, test=21))


def arrays(num_classes=1000, **overrides):
    """Weights of the small model, and none that it would start with by itself."""
    paddle.seed(7)
    model = build_model("regionvit", **{**NANO, **overrides}, num_classes=num_classes)
    rng = np.random.default_rng(7)
    return {key: value.numpy() + 0.01 * rng.random(value.shape, "float32") for key, value in model.named_parameters()}


def write(file, state):
    paddle.save({key: paddle.to_tensor(value) for key, value in state.items()}, str(file))
    return file


def first_weights(output):
    """The weights that a run started with."""
    return pdparams.read(output / "checkpoints" / "epoch_0000_step_00000000" / "latest.pdparams")


def one_epoch(monkeypatch, archive, output, file, *overrides):
    settings = (f"train.pretrained={file}", "train.epochs=1", "train.keep_checkpoints=9", *overrides)
    train(monkeypatch, archive, output, *settings)
    return first_weights(output)


def test_a_head_for_other_classes_is_newly_initialised_and_named(archive, tmp_path, monkeypatch):
    file = write(tmp_path / "imagenet.pdparams", arrays(1000))
    found = one_epoch(monkeypatch, archive, tmp_path / "run", file)
    fresh = one_epoch(monkeypatch, archive, tmp_path / "fresh", "")
    expected = {**arrays(1000), **{key: fresh[key] for key in HEAD}}
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    log = (tmp_path / "run" / "train.log").read_text()
    assert f"Weights: those in {file}" in log
    assert f"head.weight, head.bias: newly initialised: 1000 classes in {file}, 10 here" in log


@pytest.mark.parametrize("spoil", [dict, lambda state: {k: v.astype("float16") for k, v in state.items()}])
def test_a_head_for_as_many_classes_is_used(archive, tmp_path, monkeypatch, spoil):
    state = spoil(arrays(10))
    found = one_epoch(monkeypatch, archive, tmp_path / "run", write(tmp_path / "w.pdparams", state))
    for key, value in state.items():
        np.testing.assert_array_equal(found[key], value.astype("float32"), err_msg=key)
    assert "newly initialised" not in (tmp_path / "run" / "train.log").read_text()


def test_weights_without_a_head_are_enough(archive, tmp_path, monkeypatch):
    file = write(tmp_path / "w.pdparams", arrays(num_classes=0))
    one_epoch(monkeypatch, archive, tmp_path / "run", file)
    assert f"newly initialised: not in {file}" in (tmp_path / "run" / "train.log").read_text()


def test_the_checksum_of_the_file_is_noted(archive, tmp_path, monkeypatch):
    file = write(tmp_path / "w.pdparams", arrays())
    one_epoch(monkeypatch, archive, tmp_path / "run", file)
    one_epoch(monkeypatch, archive, tmp_path / "fresh", "")
    noted, without = (json.loads((tmp_path / name / "environment.json").read_text()) for name in ("run", "fresh"))
    assert noted["pretrained_sha256"] == sha256sum(file)
    assert "pretrained_sha256" not in without


class Attack:
    def __reduce__(self):
        return os.system, ("touch pwned",)


RESAMPLE = "train.pretrained_resample=true"
SPOILT = {
    "missing": (lambda s: s.pop("norm.weight"), ["1 missing: norm.weight", "use the config that these weights are of"]),
    "unexpected": (lambda s: s.update(extra=s["norm.bias"]), ["1 unexpected: extra"]),
    "shape": (lambda s: s.update({"norm.bias": np.ones(3, "f4")}), ["1 of another shape: norm.bias [3] (model: [32])"]),
    "half a head": (lambda s: s.pop("head.bias"), ["1 missing: head.bias", "head.weight [32, 1000] (model: [32, 10])"]),
    "two heads": (lambda s: s.update({"head.bias": np.ones(9, "f4")}), ["2 of another shape: head.weight", "[9]"]),
    "wide head": (lambda s: s.update({"head.weight": np.ones([8, 1000], "f4")}), ["head.weight [8, 1000]"]),
    "NaN": (lambda s: s.update({"norm.bias": np.full(32, np.nan, "f4")}), ["NaN or infinite values in norm.bias"]),
    "two projections": (
        lambda s: s.update({"layers.1.block.0.proj_cls.2.bias": np.ones(32, "f4")}),
        ["layers.1.block.0.proj_cls.2.bias", "one parameter"],
    ),
    "window": (lambda s: s.update(arrays(**WIDE)), ["cls_token.proj.weight [16, 3, 28, 28]", f"or {RESAMPLE}"]),
    "window and more": (
        lambda s: (s.update(arrays(**WIDE)), s.pop("norm.weight")),
        ["rel_pos", "missing: norm.weight"],
    ),
}


def refusal(monkeypatch, capsys, archive, *overrides):
    """Run train.py, which has to refuse with one line and to create nothing; return the line."""
    before = sorted(os.listdir())
    with pytest.raises(SystemExit) as exit:
        train(monkeypatch, archive, "run", *overrides)
    assert exit.value.code == 2
    assert sorted(os.listdir()) == before
    error = capsys.readouterr().err
    assert error.startswith("error: train.pretrained")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(("spoil", "words"), SPOILT.values(), ids=SPOILT)
def test_every_other_mismatch_is_refused_by_name(archive, tmp_path, monkeypatch, capsys, spoil, words):
    monkeypatch.chdir(tmp_path)
    state = arrays()
    spoil(state)
    write("w.pdparams", state)
    error = refusal(monkeypatch, capsys, archive, "train.pretrained=w.pdparams")
    assert all(word in error for word in words), error
    assert (RESAMPLE in error) == (RESAMPLE in " ".join(words))


FILES = {
    "missing": (
        None,
        "w.pdparams: no such file of weights: official ones are made into one by tools/convert_weights.py",
    ),
    "text": (b"some text", "not a file of Paddle weights, or damaged"),
    "cut": (pickle.dumps({"norm.bias": np.zeros(1000)})[:-500], "not a file of Paddle weights, or damaged"),
    "attack": (pickle.dumps({"norm.bias": Attack()}), "names posix.system"),
    "list": (pickle.dumps([1]), "holds a list"),
}


@pytest.mark.parametrize(("raw", "words"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(archive, tmp_path, monkeypatch, capsys, raw, words):
    monkeypatch.chdir(tmp_path)
    if raw is not None:
        (tmp_path / "w.pdparams").write_bytes(raw)
    assert words in refusal(monkeypatch, capsys, archive, "train.pretrained=w.pdparams")


def test_a_folder_is_no_file_of_weights(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "not readable" in refusal(monkeypatch, capsys, archive, f"train.pretrained={tmp_path}")


def test_resampling_without_weights_is_refused(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "no weights to resample" in refusal(monkeypatch, capsys, archive, RESAMPLE)


def test_processes_that_read_different_files_are_refused(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("w.pdparams", arrays())
    monkeypatch.setattr(pretrained.parallel, "agree", lambda *numbers: False)
    assert "not the same for all processes" in refusal(monkeypatch, capsys, archive, "train.pretrained=w.pdparams")


@pytest.mark.parametrize("step", [pytest.param(0, marks=pytest.mark.slow), 7])
def test_resume_is_bit_exact_and_needs_the_file_no_more(archive, tmp_path, monkeypatch, step):
    file = write(tmp_path / "w.pdparams", arrays())
    settings = (f"train.pretrained={file}", "model.drop_rate=0.1")
    train(monkeypatch, archive, tmp_path / "whole", *settings)
    with monkeypatch.context() as patch:
        send_signal_in(patch, step, 15)
        with pytest.raises(SystemExit):
            train(patch, archive, tmp_path / "run", *settings)
    noted = json.loads((tmp_path / "run" / "environment.json").read_text())["pretrained_sha256"]
    file.unlink()
    resume(monkeypatch, tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["pretrained_sha256"] == noted


def test_a_resumed_run_keeps_to_what_it_started_from(archive, tmp_path, monkeypatch, capsys):
    train(monkeypatch, archive, tmp_path / "run", "train.epochs=1")
    with pytest.raises(SystemExit):
        resume(monkeypatch, tmp_path / "run", "-o", "train.pretrained=w.pdparams")
    assert "train.pretrained: w.pdparams, but the run was started with" in capsys.readouterr().err


# Another window size


def test_weights_of_another_window_size_and_without_peg_start_a_run(archive, tmp_path, monkeypatch):
    file = write(tmp_path / "w.pdparams", arrays(**WIDE))
    monkeypatch.setitem(NANO, "peg", True)
    found = one_epoch(monkeypatch, archive, tmp_path / "run", file, RESAMPLE)
    assert found["cls_token.proj.weight"].shape == (16, 3, 16, 16)
    assert not found["layers.1.peg.weight"].any()
    log = (tmp_path / "run" / "train.log").read_text()
    assert (
        "cls_token.proj.weight, layers.0.block.1.attn.rel_pos, layers.1.block.1.attn.rel_pos: "
        "resampled for windows of another size"
    ) in log
    assert "layers.0.peg.weight, layers.1.peg.weight: 0 at first: not in the file" in log
    trained = pdparams.read(tmp_path / "run" / "final_model.pdparams")
    assert trained["layers.0.peg.weight"].any()


@pytest.mark.slow
def test_resampling_changes_nothing_of_weights_that_fit(archive, tmp_path, monkeypatch):
    file = write(tmp_path / "w.pdparams", arrays())
    one_epoch(monkeypatch, archive, tmp_path / "with", file, RESAMPLE)
    one_epoch(monkeypatch, archive, tmp_path / "without", file)
    assert "resampled" not in (tmp_path / "with" / "train.log").read_text()
    assert_same_weights(tmp_path / "with" / "final_model.pdparams", tmp_path / "without" / "final_model.pdparams")


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
def test_what_no_resampling_makes_fit_is_refused(archive, tmp_path, monkeypatch, capsys, change):
    monkeypatch.chdir(tmp_path)
    write("w.pdparams", {**arrays(**WIDE), **change})
    error = refusal(monkeypatch, capsys, archive, "train.pretrained=w.pdparams", RESAMPLE)
    (key,) = change
    assert f"1 of another shape: {key} {list(change[key].shape)}" in error
