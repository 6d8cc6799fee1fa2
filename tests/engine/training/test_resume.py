"""Runs that are stopped, killed or hindered, and resumed: they end in the bits of a run that was not interrupted."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import paddle
import pytest

import data
import train as train_script
from data import streams
from data.host import TrainingPictures
from engine import filenames
from engine.config import build
from engine.config.load import flatten, load_config
from engine.config.options import free_keys
from engine.errors import UserError
from engine.output import log as records
from engine.output.checkpoints import Checkpoints
from engine.system.environment import environment, libraries
from engine.system.precision import MixedPrecision
from engine.training import resume as resuming, run, trainer
from engine.training.parts import build_state
from engine.training.state import follow_new_cosine
from engine.weights import pdparams
from tests.support import archives
from tests.support.device import DEVICE
from tests.support.errors import one_line_about, refuses
from tests.support.kernels import need_kernels
from tests.support.runs import (
    MICRO,
    ROOT,
    SMALL,
    assert_same_run,
    assert_same_weights,
    points,
    resume,
    script,
    send_signal_in,
    texts,
    train,
)

# What a step draws has to be the same again, and what is shown of it.
RANDOM = ("model.drop_rate=0.1", "model.drop_path_rate=0.1", "records.histograms=1", "train.prediction_interval=1")
# All options of an optimizer, and steps of two batches; an epoch has six steps with and without them.
STEPS = (
    "optimizer.name=AdamW",
    "optimizer.weight_decay=0.05",
    "optimizer.warmup_epochs=0.5",
    "optimizer.layer_decay=0.8",
    "optimizer.clip_norm=1",
    "train.accumulate=2",
    "data.batch_size=8",
)
INGREDIENTS = ("data.randaugment=2", "data.random_erasing=0.5", "data.mixup=0.8", "data.cutmix=1")
AVERAGED = ("train.ema_decay=0.9", "train.recompute=true")
EVERYTHING = (*STEPS, *INGREDIENTS, *AVERAGED)
OFTEN = "train.save_every_steps=3"

pytestmark = pytest.mark.usefixtures("nano", "no_figures")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=100, test=21))


@pytest.fixture(scope="module")
def whole(nano, no_figures, archive, tmp_path_factory):
    """Runs that nothing interrupted, of two epochs of six steps, by their overrides."""
    made = {}

    def of(*overrides):
        if overrides not in made:
            made[overrides] = tmp_path_factory.mktemp("run") / "whole"
            with pytest.MonkeyPatch.context() as monkeypatch:
                train(monkeypatch, archive, made[overrides], *overrides)
        return made[overrides]

    return of


@pytest.fixture(scope="module")
def stopped_at(nano, no_figures, archive, tmp_path_factory):
    """Runs in which a signal came during a step (counted from 0), by the step and their overrides."""
    made = {}

    def of(step, *overrides):
        key = (step, *overrides)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("run") / "stopped"
            stop_in(step, archive, made[key], *overrides)
        return made[key]

    return of


@pytest.fixture
def stopped(stopped_at, tmp_path):
    """A function that returns a copy of such a run, in another folder."""
    return lambda *arguments: shutil.copytree(stopped_at(*arguments), tmp_path / "run")


@pytest.fixture(scope="module")
def extended(whole, tmp_path_factory):
    """A finished run of two epochs that was extended to three."""
    output = shutil.copytree(whole(), tmp_path_factory.mktemp("run") / "extended")
    with pytest.MonkeyPatch.context() as monkeypatch:
        resume(monkeypatch, output, *EXTENDING)
    return output


EXTENDING = ("-o", "train.epochs=3", "--extend")


def stop_in(step, archive, output, *overrides, flags=()):
    with pytest.MonkeyPatch.context() as patch:
        send_signal_in(patch, step, signal.SIGTERM)
        with pytest.raises(SystemExit) as exit:
            train(patch, archive, output, *overrides, flags=flags)
    assert exit.value.code == 128 + signal.SIGTERM


def load_rest(output):
    return pdparams.load(output / "latest.pdstates")


def newest(output):
    return Checkpoints(output).newest()[0]


def no_room(*arguments, **keywords):
    raise OSError(errno.ENOSPC, "No space left on device")


# Runs that are stopped and resumed


def case(name, pipeline, workers, step, *options, slow=False):
    return pytest.param(
        pipeline, workers, step, options, id=f"{name}-{pipeline}-{step}", marks=pytest.mark.slow if slow else ()
    )


@pytest.mark.parametrize(
    ("pipeline", "workers", "step", "options"),
    [
        case("recipe", "host", 0, 2),
        case("recipe", "host", 2, 6),
        case("recipe", "fast", 0, 0),
        case("recipe", "fast", 0, 5),
        case("recipe", "fast", 2, 11),
        case("steps", "fast", 0, 5, *STEPS),
        case("muon", "fast", 0, 5, *STEPS, "optimizer.name=Muon"),
        case("ingredients", "host", 4, 7, *INGREDIENTS),
        case("averaged", "fast", 0, 3, *AVERAGED),
        case("everything", "host", 0, 1, *EVERYTHING),
        case("everything", "fast", 2, 8, *EVERYTHING),
        case("everything", "host", 2, 8, *EVERYTHING, slow=True),
        case("everything", "fast", 2, 3, *EVERYTHING, slow=True),
    ],
)
def test_resume_is_bit_exact(pipeline, workers, step, options, archive, tmp_path, whole, monkeypatch):
    """Interrupted at the first and the last step of a run and of an epoch, and in between; with any workers."""
    overrides, output = (f"data.pipeline={pipeline}", *RANDOM, *options), tmp_path / "run"
    stop_in(step, archive, output, *overrides, f"data.num_workers={workers}")
    assert newest(output).name == f"epoch_{step // 6:04}_step_{step + 1:08}"
    resume(monkeypatch, output)
    expected = whole(*overrides)
    assert_same_run(output, expected)
    for kind in ("pdparams", "pdopt"):
        assert_same_weights(output / f"latest.{kind}", expected / f"latest.{kind}")
    if "train.ema_decay=0.9" in options:
        np.testing.assert_equal(load_rest(output)["average"], load_rest(expected)["average"])


def test_resume_is_bit_exact_from_within_validation(archive, tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patch:
        original = trainer.evaluate

        def evaluate(*arguments):
            os.kill(os.getpid(), signal.SIGINT)
            return original(*arguments)

        patch.setattr(trainer, "evaluate", evaluate)
        with pytest.raises(SystemExit) as exit:
            train(patch, archive, tmp_path / "run")
    assert exit.value.code == 130
    assert [p[2] for p in points(tmp_path / "run")] == ["train"] * 3
    resume(monkeypatch, tmp_path / "run")
    assert_same_run(tmp_path / "run", whole())


@pytest.mark.parametrize("ingredients", [(), (*INGREDIENTS, "data.num_workers=2")], ids=["recipe", "ingredients"])
def test_resume_is_bit_exact_with_the_pictures_on_the_device(ingredients, archive, tmp_path, monkeypatch):
    build_train_loader = data.build_train_loader

    def on_device(split, **options):
        return build_train_loader(split, **{**options, "on_device": True})

    monkeypatch.setattr(data, "build_train_loader", on_device)
    settings = ("data.pipeline=fast", *RANDOM, *ingredients)
    train(monkeypatch, archive, tmp_path / "whole", *settings)
    stop_in(8, archive, tmp_path / "run", *settings)
    resume(monkeypatch, tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_records_after_the_checkpoint_are_made_again_without_repeats(archive, whole, tmp_path, monkeypatch):
    """As after a SIGKILL: the newest checkpoint is older than the records."""
    output = tmp_path / "run"
    stop_in(8, archive, output, OFTEN)
    shutil.rmtree(newest(output))
    assert newest(output).name == "epoch_0001_step_00000006"
    (file,) = (output / "vdl").iterdir()
    before = file.read_bytes()
    resume(monkeypatch, output)
    assert_same_run(output, whole())
    assert file.read_bytes().startswith(before)  # which an open VisualDL has read
    assert "VisualDL is open" not in (output / "train.log").read_text(encoding="utf-8")


def test_lost_records_do_not_hinder_a_resume(stopped, whole, monkeypatch):
    output = stopped(8, OFTEN)
    for name in ("history.csv", "train.log"):
        (output / name).unlink()
    shutil.rmtree(output / "vdl")
    resume(monkeypatch, output)
    assert_same_weights(output / "final_model.pdparams", whole() / "final_model.pdparams")
    assert points(output) == points(whole())


def test_a_resumed_run_says_how_where_and_how_long(stopped_at, stopped, monkeypatch):
    """The folder was moved in between, and the first part took 100 minutes."""
    output, original = stopped(3), pdparams.load
    before = {file: file.read_bytes() for file in stopped_at(3).rglob("*") if file.is_file()}

    def as_if_slow(file):
        state = original(file)
        return {**state, "seconds": state["seconds"] + 6000} if "seconds" in state else state

    monkeypatch.setattr(pdparams, "load", as_if_slow)
    resume(monkeypatch, output)
    log = (output / "train.log").read_text(encoding="utf-8")
    assert "WARNING" not in log
    command = f"python train.py --resume {stopped_at(3)}\n"
    assert f"Stopped by SIGTERM at step 4. Resume with: {command}" in (stopped_at(3) / "train.log").read_text(
        encoding="utf-8"
    )
    assert f"{output / 'checkpoints'}/epoch_0000_step_00000004: 0 epochs and 4 steps" in log
    assert float(re.findall(r"Done in ([\d.]+) min", log)[0]) >= 100
    assert original(output / "latest.pdstates")["seconds"] >= 6000
    environment = json.loads((output / "environment.json").read_text(encoding="utf-8"))
    assert [made_on["paddle"] for made_on in environment["resumed_on"]] == [paddle.__version__]
    assert {file: file.read_bytes() for file in stopped_at(3).rglob("*") if file.is_file()} == before


def test_latest_is_enough_to_resume_from(stopped, whole, monkeypatch):
    output = stopped(3)
    shutil.rmtree(output / "checkpoints")
    resume(monkeypatch, output)
    assert_same_run(output, whole())


def test_a_finished_run_resumes_to_the_same(whole, tmp_path, monkeypatch):
    output = shutil.copytree(whole(), tmp_path / "run")
    (output / "final_model.pdparams").unlink()
    resume(monkeypatch, output)
    assert_same_run(output, whole())


def test_resume_auto_starts_and_continues(archive, whole, tmp_path, monkeypatch):
    """It starts, too, where a run died before its first checkpoint."""
    output, auto = tmp_path / "run", ["--resume", "auto"]
    with monkeypatch.context() as patch:
        patch.setattr(paddle, "save", no_room)
        with pytest.raises(SystemExit) as exit:
            train(patch, archive, output)
    assert exit.value.code == 2
    stop_in(4, archive, output, flags=auto)
    assert newest(output).name == "epoch_0000_step_00000005"
    train(monkeypatch, archive, output, flags=auto)
    assert_same_run(output, whole())


# A longer plan


def test_more_epochs_follow_the_longer_cosine(whole, extended):
    assert load_config(extended / "config.yaml").train.epochs == 3
    before, after = points(whole()), points(extended)
    assert after[: len(before)] == before
    for step, epoch, _, rate, *_ in after[len(before) :]:
        assert epoch == 3
        assert rate == pytest.approx(1e-3 * (1 + np.cos(np.pi * step / 18)) / 2, rel=1e-6, abs=1e-12)


def test_the_dashboard_shows_a_config_that_has_changed(whole, extended):
    (step, begun), *others = texts(whole())["config"]
    assert (step, others) == (0, [])
    (_, first), (step, changed) = texts(extended)["config"]
    assert first == begun
    assert "train.epochs: 2 · " in begun
    assert step == 12
    assert "train.epochs: 3 · " in changed


def test_extending_is_bit_exact_too(whole, extended, tmp_path, monkeypatch):
    output = shutil.copytree(whole(), tmp_path / "run")
    with monkeypatch.context() as patch:
        send_signal_in(patch, 14, signal.SIGTERM)
        with pytest.raises(SystemExit):
            resume(patch, output, *EXTENDING)
    resume(monkeypatch, output, *EXTENDING)
    assert_same_run(output, extended)


def test_a_longer_run_keeps_its_warmup():
    def rate(step, epochs):
        """The rate that a run of six steps per epoch has at a step."""
        config = load_config(MICRO, [*SMALL, *STEPS, f"train.epochs={epochs}"])
        state = build_state(config, build.build_model(config), MixedPrecision(), 6 * epochs)
        state.step = step
        follow_new_cosine(state)
        return state.optimizer.get_lr()

    assert rate(0, epochs=2) == rate(0, epochs=3) == pytest.approx(1e-3 / 4)
    assert rate(4, epochs=2) == pytest.approx(1e-3 * (1 + np.cos(np.pi / 9)) / 2)
    assert rate(12, epochs=3) == pytest.approx(1e-3 * (1 + np.cos(np.pi * 9 / 15)) / 2)


# Options that may change, and others


FREE = {
    "data.num_workers": 1,
    "train.log_interval": 3,
    "train.save_every_steps": 2,
    "train.keep_checkpoints": 3,
    "train.recompute": "true",
    "records.histograms": 2,
    "train.prediction_interval": 2,
    "data.download": "true",
    "device": "auto",
}


def test_options_that_do_not_affect_results_may_change(stopped, whole, monkeypatch):
    output = stopped(3)
    resume(monkeypatch, output, *(part for key, value in FREE.items() for part in ("-o", f"{key}={value}")))
    assert_same_weights(output / "final_model.pdparams", whole() / "final_model.pdparams")
    assert set(FREE) | {"data.file", "output_dir"} == free_keys()


OTHER = {
    "train.pretrained": "other.pdparams",
    "train.pretrained_resample": "true",
    "model.name": "regionvit_tiny_224",
    "model.padding_mask": "exact",
    "data.name": "cifar100",
    "data.pipeline": "host",
    "data.holdout_split": "random",
    "loss.label_smoothing": 0.2,
    "optimizer.name": "AdamW",
    "amp.level": "O1",
    "amp.dtype": "float16",
    "amp.allow_tf32": "never",
    "train.to_static": "true",
    "train.deterministic": "true",
    "train.epochs": 3,
}


def other_value(key, value):
    """Another valid value of an option."""
    if key in OTHER:
        return OTHER[key]
    return value / 2 + 0.1 if isinstance(value, float) else value + 2


def changed(output, **options):
    """The config of a run with other values of options, their dots written as two underscores."""
    return load_config(output / "config.yaml", [f"{key.replace('__', '.')}={v}" for key, v in options.items()])


DECIDING = sorted(set(flatten(load_config(MICRO))) - free_keys())


@pytest.mark.parametrize("key", DECIDING)
def test_options_that_affect_results_may_not_change(key, whole):
    before = flatten(load_config(whole() / "config.yaml"))[key]
    config = changed(whole(), **{key: other_value(key, before)})
    with refuses(UserError, key=key, value=flatten(config)[key]):
        resuming.refuse_other_config_early(whole(), config, extending=False)


def test_a_resumed_run_keeps_the_pictures_that_it_was_validated_on(whole, monkeypatch):
    """A run older than the choice, under a config that chooses; and one that has chosen."""
    about = Checkpoints(whole()).read_about()
    of_older = {key: value for key, value in about["config"].items() if key != "data.holdout_split"}
    for saved, now, kept in (
        (of_older, "stratified", "random"),
        ({**of_older, "data.holdout_split": "stratified"}, "random", "stratified"),
        (of_older, "random", "random"),
    ):
        monkeypatch.setattr(Checkpoints, "read_about", lambda self, saved=saved: {**about, "config": saved})
        for holdout in (0, 30):
            config = changed(whole(), data__holdout=holdout, data__holdout_split=now)
            notes = resuming.keep_split(whole(), config)
            assert config.data.holdout_split == kept
            assert len(notes) == (kept != now and holdout > 0)


def test_a_config_older_than_the_choice_means_the_split_of_that_time(whole, tmp_path, archive):
    old = tmp_path / "config.yaml"
    lines = (whole() / "config.yaml").read_text(encoding="utf-8").splitlines()
    old.write_text("\n".join(line for line in lines if "holdout_split" not in line), encoding="utf-8")
    val = build.build_dataset(load_config(old, ["data.holdout=30"])).val
    rows = streams.holdout_order(100)[:30]
    np.testing.assert_array_equal(val.images, data.load(archive).train.images[np.sort(rows)])


def test_classes_that_are_not_counted_yet_do_not_hinder_a_resume(whole):
    resuming.refuse_other_config_early(whole(), changed(whole(), model__num_classes=0), extending=False)


def written_with(versions):
    """What a checkpoint says of the libraries that it was written with; None: it is older than their being noted."""
    return {"about": {"libraries": versions} if versions else {}}


def run_on(folder, *environments):
    """A run's folder that notes where the run was begun and then resumed."""
    begun, *resumed_on = [{**environment(DEVICE), **versions, "archive": {}} for versions in environments]
    (folder / "environment.json").write_text(json.dumps({**begun, "resumed_on": resumed_on}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", libraries())
def test_a_library_of_another_version_is_named_with_both_versions(name, tmp_path):
    now = libraries()
    assert resuming.changed_libraries(written_with(now), tmp_path, now) == []
    (warning,) = resuming.changed_libraries(written_with({**now, name: "0.1"}), tmp_path, now)
    assert all(word in warning for word in (f"{name} 0.1", f"{name} {now[name]}"))
    older = {key: value for key, value in now.items() if key != name}  # than the library's being noted
    if name != "kernels":
        assert resuming.changed_libraries(written_with(older), tmp_path, now) == []


@pytest.mark.cpu
def test_a_checkpoint_older_than_the_kernels_in_c_was_written_with_paddles(tmp_path):
    need_kernels()
    now = libraries()
    older = {key: value for key, value in now.items() if key != "kernels"}
    (warning,) = resuming.changed_libraries(written_with(older), tmp_path, now)
    assert "kernels Paddle's" in warning
    assert f"kernels {now['kernels']}" in warning


def test_all_libraries_of_another_version_are_named_in_one_warning(tmp_path):
    before = dict.fromkeys(libraries(), "0.1")
    (warning,) = resuming.changed_libraries(written_with(before), tmp_path, libraries())
    assert all(f"{name} 0.1" in warning and f"{name} {now}" in warning for name, now in libraries().items())


def test_the_checkpoint_decides_what_has_changed_not_the_last_resume(tmp_path):
    """A resume on another Paddle that is killed before it saves leaves the older one's checkpoint."""
    run_on(tmp_path, {}, {"paddle": "0.1"})
    assert resuming.changed_libraries(written_with(libraries()), tmp_path, libraries()) == []


def test_where_a_checkpoint_does_not_know_its_libraries_the_last_resume_decides(tmp_path):
    now, unknown = libraries(), written_with(None)
    assert resuming.changed_libraries(unknown, tmp_path, now) == []
    assert resuming.changed_libraries(unknown, run_on(tmp_path, {"paddle": "0.1"}, {}), now) == []
    (warning,) = resuming.changed_libraries(unknown, run_on(tmp_path, {}, {"paddle": "0.1"}), now)
    assert "paddle 0.1" in warning


def test_a_run_resumed_on_another_paddle_warns_once_and_its_next_checkpoint_knows(stopped, monkeypatch):
    output, now = stopped(6), libraries()
    with monkeypatch.context() as other:
        other.setattr(run, "libraries", lambda: {**now, "paddle": "0.1"})
        send_signal_in(other, 9, signal.SIGTERM)
        with pytest.raises(SystemExit):
            resume(other, output)
    assert load_rest(output)["about"]["libraries"] == {**now, "paddle": "0.1"}
    resume(monkeypatch, output)
    warnings = [
        line for line in (output / "train.log").read_text(encoding="utf-8").splitlines() if "paddle 0.1" in line
    ]
    there, back = (line.index("paddle 0.1") < line.index(f"paddle {now['paddle']}") for line in warnings)
    assert back
    assert not there


def test_fewer_epochs_are_refused_even_with_extend(whole):
    with refuses(UserError, key="train.epochs", value=1):
        resuming.refuse_other_config_early(whole(), changed(whole(), train__epochs=1), extending=True)


def test_a_refused_resume_is_one_line_and_changes_no_file(whole, monkeypatch, capsys):
    before = {file: file.read_bytes() for file in whole().rglob("*") if file.is_file()}
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, whole(), "-o", "train.epochs=3")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "train.epochs: 3", "--extend")
    assert {file: file.read_bytes() for file in whole().rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(("key", "value"), [("train.ema_decay", 0.9), ("model.drop_rate", 0.5)])
def test_a_checkpoint_older_than_an_option_was_made_with_its_default(key, value, whole):
    now = load_rest(whole())["about"]
    saved = {**now, "config": {name: before for name, before in now["config"].items() if name != key}}
    resuming._refuse_changes(saved, now, extending=False)
    other = {**now, "config": {**now["config"], key: value}}
    with refuses(UserError, key=key, value=value):
        resuming._refuse_changes(saved, other, extending=False)


def test_another_archive_is_refused(whole, tmp_path):
    other = archives.write(tmp_path / "other.tar.gz", archives.members(train=100, test=22))
    with refuses(UserError, key="data.file", value=str(other), place=other):
        run.train(changed(whole(), data__file=other), resuming=True)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--resume", "nothing"], ["--resume nothing", "-c"]),
        (["--resume", "auto"], ["-c configs/"]),
        (["--resume", "x", "-c", "y.yaml"], ["--resume x", "-c"]),
        (["--resume", "x", "--overwrite"], ["--overwrite", "--resume"]),
        (["-c", "y.yaml", "--extend"], ["--extend", "--resume"]),
    ],
)
def test_a_wrong_resume_is_one_line(arguments, parts, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        script(monkeypatch, train_script.main, *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *parts)


def test_a_resumed_run_stays_in_its_folder(stopped_at, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--resume", str(stopped_at(3)), "-o", f"output_dir={tmp_path / 'x'}"])
    with refuses(UserError, key="output_dir", place=stopped_at(3)):
        train_script.main()
    assert not (tmp_path / "x").exists()


# Faults


def test_a_torn_checkpoint_is_named_and_the_one_before_is_used(stopped, whole, monkeypatch):
    output = stopped(8, OFTEN)
    torn = newest(output) / "latest.pdopt"
    os.truncate(torn, 1000)
    resume(monkeypatch, output)
    (warning,) = [line for line in (output / "train.log").read_text(encoding="utf-8").splitlines() if "WARNING" in line]
    assert str(torn) in warning
    assert_same_run(output, whole())


def test_without_a_whole_checkpoint_nothing_starts_over(stopped, monkeypatch, capsys):
    output = stopped(3)
    for folder in Checkpoints(output).all():
        (folder / "latest.pdparams").unlink()
    before = (output / "history.csv").read_bytes()
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, output)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, output / "checkpoints", "latest.pdparams")
    assert (output / "history.csv").read_bytes() == before


@pytest.fixture(scope="module")
def hindered(nano, no_figures, archive, tmp_path_factory):
    """A run whose disk is full for a while: for checkpoints of the first epoch, and for a row of the history."""
    output, saves, rows = tmp_path_factory.mktemp("run") / "hindered", [], []
    original_save, original_append = paddle.save, records.History.append

    def save(state, file):
        saves.append(file)
        # After the first checkpoint: all of the first epoch's, and its best weights.
        return no_room() if 4 <= len(saves) <= 8 else original_save(state, file)

    def append(self, point):
        rows.append(point)
        if len(rows) == 2:
            self._whole = False
            self.points.append(point)
            no_room()
        original_append(self, point)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(paddle, "save", save)
        monkeypatch.setattr(records.History, "append", append)
        train(monkeypatch, archive, output, "train.save_every_steps=2")
    return output


def test_a_full_disk_costs_checkpoints_and_nothing_else(hindered, whole):
    log = (hindered / "train.log").read_text(encoding="utf-8")
    warnings = [line for line in log.splitlines() if "WARNING" in line and "No space left on device" in line]
    assert any("checkpoints/epoch_0000_step_00000002" in line for line in warnings)
    assert any("best_model.pdparams" in line for line in warnings)
    assert_same_weights(hindered / "final_model.pdparams", whole() / "final_model.pdparams")
    assert_same_weights(hindered / "best_model.pdparams", whole() / "final_model.pdparams")
    assert "(epoch 2, new best)" in log
    assert newest(hindered).name == "epoch_0002_step_00000012"
    assert not list(hindered.rglob(".*tmp"))


def test_history_that_cannot_be_written_is_written_later(hindered, whole):
    assert "WARNING: history.csv" in (hindered / "train.log").read_text(encoding="utf-8")
    assert points(hindered) == points(whole())


def test_a_loss_that_is_not_finite_stops_the_run(archive, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"
    with pytest.raises(SystemExit) as exit:
        train(monkeypatch, archive, output, "optimizer.learning_rate=1e30", "train.log_interval=2")
    assert exit.value.code == 2
    rate = f"{1e30 * (1 + np.cos(np.pi * 2 / 12)) / 2:.3e}"
    one_line_about(capsys.readouterr().err, "optimizer.learning_rate", "loss is nan", "step 2", rate)
    names = sorted(folder.name for folder in (output / "checkpoints").iterdir())
    assert names == ["diverged_epoch_0000_step_00000003", "epoch_0000_step_00000000"]
    assert newest(output).name == "epoch_0000_step_00000000"
    diverged = pdparams.read(output / "checkpoints" / names[0] / "latest.pdparams")
    assert not all(np.isfinite(value).all() for value in diverged.values())
    with pytest.raises(SystemExit):
        resume(monkeypatch, output)  # to the same end
    assert_same_weights(newest(output) / "latest.pdparams", output / "latest.pdparams")


def test_weights_that_are_not_finite_never_become_a_checkpoint(archive, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"
    with pytest.raises(SystemExit):
        train(monkeypatch, archive, output, "optimizer.learning_rate=1e38", "train.save_every_steps=1")
    one_line_about(capsys.readouterr().err, "optimizer.learning_rate", "weights")
    for folder in Checkpoints(output).all():
        state = pdparams.read(folder / "latest.pdparams")
        assert all(np.isfinite(value).all() for value in state.values())


def test_a_worker_that_dies_is_one_line_and_nothing_is_lost(archive, tmp_path, whole, monkeypatch, capsys):
    original, parent = TrainingPictures.picture, os.getpid()

    def dies(self, key):
        if key[0] == 1 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, key)

    overrides = ("data.pipeline=host", *RANDOM)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingPictures, "picture", dies)
        with pytest.raises(SystemExit) as exit:
            train(patch, archive, tmp_path / "run", *overrides, "data.num_workers=2")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "worker process", f"python train.py --resume {tmp_path / 'run'}")
    assert newest(tmp_path / "run").name == "epoch_0001_step_00000006"
    resume(monkeypatch, tmp_path / "run")
    assert_same_weights(tmp_path / "run" / "final_model.pdparams", whole(*overrides) / "final_model.pdparams")


HOLD = (
    "from engine.system.lock import Lock; import sys\n"
    "with Lock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
)


def test_a_second_run_in_one_folder_is_refused(whole, tmp_path, monkeypatch, capsys):
    output = shutil.copytree(whole(), tmp_path / "run")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(output)], cwd=ROOT, **pipes)
    assert holder.stdout.readline() == b"held\n"
    for attempt in (lambda: resume(monkeypatch, output), lambda: train_over(monkeypatch, output)):
        with pytest.raises(SystemExit) as exit:
            attempt()
        assert exit.value.code == 2
        one_line_about(capsys.readouterr().err, f"output_dir: {output}", f"process {holder.pid}")
    assert_same_run(output, whole())
    holder.kill()
    holder.wait()
    resume(monkeypatch, output)


def interrupted(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize("cut_short", [False, True], ids=["", "after a replacement that was cut short"])
def test_a_replaced_run_is_kept_until_another_has_learned(cut_short, whole, tmp_path, monkeypatch):
    output = shutil.copytree(whole(), tmp_path / "run")
    if cut_short:
        (output / ".replaced").mkdir()
        for name in ("checkpoints", *filenames.CHECKPOINT, "best_model.pdparams"):
            (output / name).rename(output / ".replaced" / name)
    for _ in range(2):  # the second replaces a run that was stopped before its first step was done
        with monkeypatch.context() as patch:
            patch.setattr(trainer, "train_step", interrupted)
            with pytest.raises(SystemExit):
                train_over(patch, output)
        assert_same_run(output / "replaced", whole())


def train_over(monkeypatch, output):
    archive = load_config(output / "config.yaml").data.file
    train(monkeypatch, archive, output, flags=["--overwrite"])
