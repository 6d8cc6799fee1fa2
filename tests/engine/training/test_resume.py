import errno
import faulthandler
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import connection

import numpy as np
import paddle
import pytest

import data
import train as train_script
from data.host import TrainingPictures
from engine import filenames
from engine.config.load import flatten, load_config
from engine.config.options import free_keys
from engine.errors import UserError
from engine.figures import curves, predictions
from engine.output import checkpoints as checkpoints_module, log as records
from engine.output.checkpoints import Checkpoints
from engine.training import run, state, trainer
from engine.weights import pdparams
from engine.weights.pdparams import CheckpointError
from tests.support import archives
from tests.support.runs import (
    ROOT,
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
RANDOM = ["model.drop_rate=0.1", "model.drop_path_rate=0.1", "records.histograms=1", "train.prediction_interval=1"]


# All that an optimizer can be given, and steps of two batches; an epoch has six as without it.
STEPS = [
    "optimizer.name=AdamW",
    "optimizer.weight_decay=0.05",
    "optimizer.warmup_epochs=0.5",
    "optimizer.layer_decay=0.8",
    "optimizer.clip_norm=1",
    "train.accumulate=2",
    "data.batch_size=8",
]
INGREDIENTS = ["data.randaugment=2", "data.random_erasing=0.5", "data.mixup=0.8", "data.cutmix=1"]


pytestmark = pytest.mark.usefixtures("nano", "no_figures")


@pytest.fixture(scope="module")
def no_figures():
    """They take most of a small run's time, and whether a run can be resumed does not depend on them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "plot_curves", lambda points, folder: [])
        patch.setattr(predictions, "picture_grid", lambda *arguments: None)
        patch.setattr(
            predictions, "OF_PREDICTIONS", {name: lambda *arguments: None for name in predictions.OF_PREDICTIONS}
        )
        patch.setattr(curves, "as_image", lambda figure: np.zeros([2, 2, 3], np.uint8))
        yield


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


@pytest.fixture
def stopped(archive, tmp_path, monkeypatch):
    """A function that makes a run in which a signal comes during a step (counted from 0), and returns its folder."""

    def run(step, *overrides, signum=signal.SIGTERM):
        with monkeypatch.context() as patch:
            send_signal_in(patch, step, signum)
            with pytest.raises(SystemExit) as exit:
                train(patch, archive, tmp_path / "run", *overrides)
        assert exit.value.code == 128 + signum
        return tmp_path / "run"

    return run


def load_rest(output):
    return pdparams.load(output / "latest.pdstates")


def newest(output):
    return Checkpoints(output).newest()[0]


# Runs that are stopped and resumed


@pytest.mark.parametrize(("pipeline", "step"), [("host", 2), ("host", 6), ("fast", 0), ("fast", 5), ("fast", 11)])
def test_resume_is_bit_exact(pipeline, step, stopped, whole, monkeypatch):
    overrides = (f"data.pipeline={pipeline}", *RANDOM)
    output = stopped(step, *overrides)
    assert newest(output).name == f"epoch_{step // 6:04}_step_{step + 1:08}"
    resume(monkeypatch, output)
    assert_same_run(output, whole(*overrides))


@pytest.mark.parametrize(
    ("pipeline", "workers", "step"), [("host", 0, 1), ("host", 2, 7), ("fast", 0, 5), ("fast", 2, 11)]
)
def test_resume_is_bit_exact_with_all_that_a_step_can_be(pipeline, workers, step, stopped, whole, monkeypatch):
    overrides = (f"data.pipeline={pipeline}", f"data.num_workers={workers}", *RANDOM, *STEPS)
    output = stopped(step, *overrides)
    assert newest(output).name == f"epoch_{step // 6:04}_step_{step + 1:08}"
    resume(monkeypatch, output)
    assert_same_run(output, whole(*overrides))


@pytest.mark.parametrize(
    ("pipeline", "workers", "step"),
    [
        ("host", 0, 1),
        pytest.param("host", 2, 8, marks=pytest.mark.slow),
        pytest.param("fast", 2, 3, marks=pytest.mark.slow),
    ],
)
def test_resume_is_bit_exact_with_everything_at_once(pipeline, workers, step, stopped, whole, monkeypatch):
    averaged = ("train.ema_decay=0.9", "train.recompute=true")
    settings = (f"data.pipeline={pipeline}", f"data.num_workers={workers}")
    overrides = (*settings, *RANDOM, *STEPS, *INGREDIENTS, *averaged)
    output = stopped(step, *overrides)
    resume(monkeypatch, output)
    assert_same_run(output, whole(*overrides))
    np.testing.assert_equal(load_rest(output)["average"], load_rest(whole(*overrides))["average"])


@pytest.mark.parametrize(("pipeline", "step"), [("host", 0), ("host", 8), ("fast", 3), ("fast", 5)])
def test_resume_is_bit_exact_with_a_moving_average_and_recomputation(pipeline, step, stopped, whole, monkeypatch):
    overrides = (f"data.pipeline={pipeline}", *RANDOM, "train.ema_decay=0.9", "train.recompute=true")
    output = stopped(step, *overrides)
    resume(monkeypatch, output)
    assert_same_run(output, whole(*overrides))
    for kind in ("pdparams", "pdopt"):
        assert_same_weights(output / f"latest.{kind}", whole(*overrides) / f"latest.{kind}")
    np.testing.assert_equal(load_rest(output)["average"], load_rest(whole(*overrides))["average"])


@pytest.mark.parametrize("workers", [2, 4])
def test_resume_is_bit_exact_with_worker_processes(workers, stopped, whole, monkeypatch):
    overrides = ("data.pipeline=host", *RANDOM)
    output = stopped(7, *overrides, f"data.num_workers={workers}")
    resume(monkeypatch, output)
    for name in ("best", "final"):
        assert_same_weights(output / f"{name}_model.pdparams", whole(*overrides) / f"{name}_model.pdparams")
    assert points(output) == points(whole(*overrides))


@pytest.mark.parametrize(("pipeline", "workers"), [("host", 2), ("fast", 2)])
def test_resume_is_bit_exact_with_all_ingredients(pipeline, workers, stopped, whole, monkeypatch):
    settings = (f"data.pipeline={pipeline}", *RANDOM, *INGREDIENTS)
    output = stopped(7, *settings, f"data.num_workers={workers}")
    resume(monkeypatch, output)
    for name in ("best", "final"):
        for file in (f"{name}_model.pdparams", f"{name}_optimizer.pdopt"):
            assert_same_weights(output / file, whole(*settings) / file)
    assert points(output) == points(whole(*settings))


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


@pytest.mark.parametrize("ingredients", [[], [*INGREDIENTS, "data.num_workers=2"]], ids=["recipe", "ingredients"])
def test_resume_is_bit_exact_with_the_pictures_on_the_device(ingredients, archive, tmp_path, monkeypatch):
    build_train_loader = data.build_train_loader

    def on_device(split, **options):
        return build_train_loader(split, **{**options, "on_device": True})

    monkeypatch.setattr(data, "build_train_loader", on_device)
    settings = ("data.pipeline=fast", *RANDOM, *ingredients)
    train(monkeypatch, archive, tmp_path / "whole", *settings)
    with monkeypatch.context() as patch:
        send_signal_in(patch, 8, signal.SIGTERM)
        with pytest.raises(SystemExit):
            train(patch, archive, tmp_path / "run", *settings)
    resume(monkeypatch, tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_what_came_after_the_checkpoint_is_made_anew_without_repeat(stopped, whole, monkeypatch):
    """As after a SIGKILL: the newest checkpoint is older than the records."""
    output = stopped(8, "train.save_every_steps=3")
    shutil.rmtree(newest(output))
    assert newest(output).name == "epoch_0001_step_00000006"
    resume(monkeypatch, output)
    assert_same_run(output, whole())


@pytest.mark.parametrize("lost", ["history.csv", "train.log", "vdl"])
def test_lost_records_do_not_hinder_a_resume(lost, stopped, whole, monkeypatch):
    output = stopped(8)
    if lost == "vdl":
        shutil.rmtree(output / lost)
    else:
        (output / lost).unlink()
    resume(monkeypatch, output)
    assert_same_weights(output / "final_model.pdparams", whole() / "final_model.pdparams")
    assert points(output) == points(whole())


def test_a_folder_that_was_moved_resumes(stopped, whole, tmp_path, monkeypatch):
    output = stopped(3).rename(tmp_path / "moved")
    resume(monkeypatch, output)
    assert_same_run(output, whole())
    assert not (tmp_path / "run").exists()


def test_the_log_says_how_to_go_on_and_where_it_went_on(stopped, monkeypatch, capsys):
    output = stopped(3)
    assert f"Stopped by SIGTERM at step 4. Go on by: python train.py --resume {output}" in capsys.readouterr().out
    resume(monkeypatch, output)
    assert "epoch_0000_step_00000004: 0 epochs and 4 steps of the next are done" in (output / "train.log").read_text()
    environment = json.loads((output / "environment.json").read_text())
    assert [made_on["paddle"] for made_on in environment["resumed_on"]] == [paddle.__version__]


def test_latest_is_enough_to_go_on_from(stopped, whole, monkeypatch):
    output = stopped(3)
    shutil.rmtree(output / "checkpoints")
    resume(monkeypatch, output)
    assert_same_run(output, whole())


def test_checkpoints_sort_by_number(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=5)
    for epoch in (9_999, 10_000, 100_000):
        checkpoints.save({}, {}, {}, epoch=epoch, step=3)
    assert [folder.name.split("_")[1] for folder in checkpoints.all()] == ["100000", "10000", "9999"]


def test_a_finished_run_resumes_to_the_same(whole, tmp_path, monkeypatch):
    output = shutil.copytree(whole(), tmp_path / "run")
    (output / "final_model.pdparams").unlink()
    resume(monkeypatch, output)
    assert_same_run(output, whole())


def test_resume_auto_starts_and_goes_on(archive, whole, tmp_path, monkeypatch):
    auto = ["--resume", "auto"]
    with monkeypatch.context() as patch:
        send_signal_in(patch, 4, signal.SIGTERM)
        with pytest.raises(SystemExit):
            train(patch, archive, tmp_path / "run", flags=auto)
    train(monkeypatch, archive, tmp_path / "run", flags=auto)
    assert_same_run(tmp_path / "run", whole())


def test_a_run_that_died_before_its_first_checkpoint_can_be_started_again(archive, whole, tmp_path, monkeypatch):
    def no_room(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(paddle, "save", no_room)
        with pytest.raises(SystemExit) as exit:
            train(patch, archive, tmp_path / "run")
    assert exit.value.code == 2
    train(monkeypatch, archive, tmp_path / "run", flags=["--resume", "auto"])
    assert_same_run(tmp_path / "run", whole())


def test_more_epochs_need_extend_and_follow_the_longer_cosine(whole, tmp_path, monkeypatch, capsys):
    output = shutil.copytree(whole(), tmp_path / "run")
    with pytest.raises(SystemExit):
        resume(monkeypatch, output, "-o", "train.epochs=3")
    assert "--extend" in capsys.readouterr().err
    resume(monkeypatch, output, "-o", "train.epochs=3", "--extend")
    assert load_config(output / "config.yaml").train.epochs == 3
    before, after = points(whole()), points(output)
    assert after[: len(before)] == before
    for step, epoch, _, rate, *_ in after[len(before) :]:
        assert epoch == 3
        assert rate == pytest.approx(1e-3 * (1 + np.cos(np.pi * step / 18)) / 2, rel=1e-6, abs=1e-12)


def test_the_dashboard_tells_of_a_config_that_has_changed(whole, tmp_path, monkeypatch):
    output = shutil.copytree(whole(), tmp_path / "run")
    (step, begun), *others = texts(output)["config"]
    assert (step, others) == (0, [])
    resume(monkeypatch, output, "-o", "train.epochs=3", "--extend")
    (_, first), (step, changed) = texts(output)["config"]
    assert first == begun
    assert "train.epochs: 2 · " in begun
    assert step == 12
    assert "train.epochs: 3 · " in changed


def test_the_time_of_a_resumed_run_is_that_of_all_its_parts(whole, tmp_path, monkeypatch):
    output = shutil.copytree(whole(), tmp_path / "run")
    begin = time.perf_counter() - 6000  # as if the clock had begun so long before
    monkeypatch.setattr(state, "seconds", lambda _: time.perf_counter() - begin)
    resume(monkeypatch, output, "-o", "train.epochs=3", "--extend")
    monkeypatch.undo()
    resume(monkeypatch, output, "-o", "train.epochs=4", "--extend")
    (minutes,) = re.findall(r"Done in ([\d.]+) min", (output / "train.log").read_text())
    assert float(minutes) >= 100


def test_a_key_newer_than_the_run_has_its_default_there(whole, tmp_path, monkeypatch, capsys):
    """Checkpoints of before `model.drop_rate`, say, are of runs that had none."""
    output = shutil.copytree(whole(), tmp_path / "run")
    original = run.load

    def as_before(file):
        saved = original(file)
        saved["about"]["config"].pop("model.drop_rate")
        return saved

    monkeypatch.setattr(run, "load", as_before)
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, output, "-o", "model.drop_rate=0.5")
    assert exit.value.code == 2
    assert "model.drop_rate: 0.5, but the run was started with 0.0" in capsys.readouterr().err


def test_a_longer_run_keeps_its_warmup(whole, tmp_path, monkeypatch):
    output = shutil.copytree(whole(*STEPS), tmp_path / "run")
    resume(monkeypatch, output, "-o", "train.epochs=3", "--extend")
    rates = {step: rate for step, _, split, rate, *_ in points(output) if split == "train"}
    assert [rates[step] for step in (0, 4, 12)] == pytest.approx(
        [1e-3 / 4, 1e-3 * (1 + np.cos(np.pi / 9)) / 2, 1e-3 * (1 + np.cos(np.pi * 9 / 15)) / 2]
    )


def test_extending_is_bit_exact_too(whole, tmp_path, monkeypatch):
    extending = ("-o", "train.epochs=3", "--extend")
    once, twice = (shutil.copytree(whole(), tmp_path / name) for name in ("once", "twice"))
    resume(monkeypatch, once, *extending)
    with monkeypatch.context() as patch:
        send_signal_in(patch, 14, signal.SIGTERM)
        with pytest.raises(SystemExit):
            resume(patch, twice, *extending)
    resume(monkeypatch, twice, *extending)
    assert_same_run(once, twice)


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


def test_what_decides_no_number_may_change(stopped, whole, monkeypatch):
    output = stopped(3)
    resume(monkeypatch, output, *(part for key, value in FREE.items() for part in ("-o", f"{key}={value}")))
    assert_same_weights(output / "final_model.pdparams", whole() / "final_model.pdparams")
    assert set(FREE) | {"data.file", "output_dir"} == free_keys()


OTHER = {
    "train.pretrained": "other.pdparams",
    "model.name": "regionvit_tiny_224",
    "model.padding_mask": "exact",
    "data.name": "cifar100",
    "data.pipeline": "host",
    "loss.label_smoothing": 0.2,
    "optimizer.name": "AdamW",
    "amp.level": "O1",
    "amp.dtype": "float16",
    "train.to_static": "true",
    "train.deterministic": "true",
}


def other_value(key, value):
    """Another valid value of an option."""
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, float):
        return value / 2 + 0.1
    return value + 2 if key != "train.epochs" else 1


# The classes and the archive are held against each other before the run is looked at.
DECIDING = sorted(set(flatten(load_config(ROOT / "configs/micro_cifar10.yaml"))) - free_keys())


@pytest.mark.parametrize("key", DECIDING)
def test_what_decides_a_number_may_not_change(key, whole, tmp_path, monkeypatch, capsys):
    saved = flatten(load_config(whole() / "config.yaml"))
    before = {file: file.read_bytes() for file in whole().rglob("*") if file.is_file()}
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, whole(), "-o", f"{key}={other_value(key, saved[key])}")
    error = capsys.readouterr().err
    assert exit.value.code == 2
    assert f"{key}: " in error
    assert error.count("\n") == 1
    assert {file: file.read_bytes() for file in whole().rglob("*") if file.is_file()} == before


def test_a_checkpoint_older_than_an_option_was_made_with_its_default(whole):
    now = load_rest(whole())["about"]
    saved = {**now, "config": {key: value for key, value in now["config"].items() if key != "train.ema_decay"}}
    run._refuse_changes(saved, now, extending=False)
    averaging = {**now, "config": {**now["config"], "train.ema_decay": 0.9}}
    with pytest.raises(UserError, match=r"train.ema_decay: 0.9, but the run was started with 0.0"):
        run._refuse_changes(saved, averaging, extending=False)


def test_another_archive_is_refused(whole, tmp_path, monkeypatch, capsys):
    other = archives.write(tmp_path / "other.tar.gz", archives.members(train=100, test=22))
    with pytest.raises(SystemExit):
        resume(monkeypatch, whole(), "-o", f"data.file={other}")
    assert "is not the data that the run was started with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume", "nothing"], "nothing: no checkpoint to go on from"),
        (["--resume", "auto"], "give a config"),
        (["--resume", "x", "-c", "y.yaml"], "leave out -c"),
        (["--resume", "x", "--overwrite"], "--overwrite and --resume"),
        (["-c", "y.yaml", "--extend"], "--extend goes with --resume"),
    ],
)
def test_a_wrong_resume_is_one_line(arguments, words, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        script(monkeypatch, train_script.main, *arguments)
    error = capsys.readouterr().err
    assert exit.value.code == 2
    assert words in error
    assert error.count("\n") == 1


# Faults


def test_a_torn_checkpoint_is_named_and_the_one_before_is_used(stopped, whole, monkeypatch):
    output = stopped(8, "train.save_every_steps=3")
    torn = newest(output) / "latest.pdopt"
    os.truncate(torn, 1000)
    resume(monkeypatch, output)
    log = (output / "train.log").read_text()
    assert f"WARNING: {torn} is not what was saved" in log
    assert "Resumed from" in log
    assert_same_run(output, whole())


def test_without_a_whole_checkpoint_nothing_starts_over(stopped, monkeypatch, capsys):
    output = stopped(3)
    for folder in Checkpoints(output).all():
        (folder / "latest.pdparams").unlink()
    before = (output / "history.csv").read_bytes()
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, output)
    assert exit.value.code == 2
    assert "has no whole checkpoint" in capsys.readouterr().err
    assert (output / "history.csv").read_bytes() == before


def test_a_full_disk_costs_checkpoints_and_nothing_else(archive, whole, tmp_path, monkeypatch):
    calls = []

    def save(state, file, original=paddle.save):
        calls.append(file)
        if 4 <= len(calls) <= 8:  # after the first checkpoint: all of the first epoch's, its best weights included
            raise OSError(errno.ENOSPC, "No space left on device", file)
        original(state, file)

    monkeypatch.setattr(paddle, "save", save)
    train(monkeypatch, archive, tmp_path / "run", "train.save_every_steps=2")
    log = (tmp_path / "run" / "train.log").read_text()
    assert "No space left on device" in log
    assert "the next checkpoint tries again" in log
    assert_same_weights(tmp_path / "run" / "final_model.pdparams", whole() / "final_model.pdparams")
    assert_same_weights(tmp_path / "run" / "best_model.pdparams", whole() / "final_model.pdparams")
    assert "(epoch 2, new best)" in log
    assert newest(tmp_path / "run").name == "epoch_0002_step_00000012"
    assert not list((tmp_path / "run").rglob(".*tmp"))


def test_history_that_cannot_be_written_is_written_later(archive, whole, tmp_path, monkeypatch):
    original, calls = records.History.append, []

    def append(self, point):
        calls.append(point)
        if len(calls) == 2:
            self._whole = False
            self.points.append(point)
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, point)

    monkeypatch.setattr(records.History, "append", append)
    train(monkeypatch, archive, tmp_path / "run")
    assert "history.csv cannot be written" in (tmp_path / "run" / "train.log").read_text()
    assert points(tmp_path / "run") == points(whole())


def test_a_loss_that_is_not_finite_stops_the_run(archive, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"
    with pytest.raises(SystemExit) as exit:
        train(monkeypatch, archive, output, "optimizer.learning_rate=1e30", "train.log_interval=2")
    error = capsys.readouterr().err
    assert exit.value.code == 2
    assert error.count("\n") == 1
    for words in ("the loss is nan", "step 2", "learning rate 9", "optimizer.learning_rate"):
        assert words in error
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
    assert "the weights are not finite" in capsys.readouterr().err
    for folder in Checkpoints(output).all():
        state = pdparams.read(folder / "latest.pdparams")
        assert all(np.isfinite(value).all() for value in state.values())


def test_a_worker_that_dies_is_one_line_and_nothing_is_lost(archive, tmp_path, whole, monkeypatch, capsys):
    original, parent = TrainingPictures.__getitem__, os.getpid()

    def dies(self, key):
        if key[0] == 1 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, key)

    overrides = ("data.pipeline=host", *RANDOM)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingPictures, "__getitem__", dies)
        with pytest.raises(SystemExit) as exit:
            train(patch, archive, tmp_path / "run", *overrides, "data.num_workers=2")
    error = capsys.readouterr().err
    assert exit.value.code == 2
    assert "a worker process that makes batches died" in error
    assert f"python train.py --resume {tmp_path / 'run'}" in error
    assert newest(tmp_path / "run").name == "epoch_0001_step_00000006"
    resume(monkeypatch, tmp_path / "run")
    assert_same_weights(tmp_path / "run" / "final_model.pdparams", whole(*overrides) / "final_model.pdparams")


def test_a_worker_that_dies_while_it_hands_over_a_batch_does_not_hang_the_run(archive, tmp_path, monkeypatch, capsys):
    original, parent = connection.Connection._send, os.getpid()

    def dies(self, data, *arguments):
        if os.getpid() != parent and len(data) > 100_000:
            original(self, data[:1000], *arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, data, *arguments)

    monkeypatch.setattr(connection.Connection, "_send", dies)
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)  # nothing else would end it
    with pytest.raises(SystemExit) as exit:
        train(monkeypatch, archive, tmp_path / "run", "data.pipeline=host", "data.num_workers=2")
    faulthandler.cancel_dump_traceback_later()
    assert exit.value.code == 2
    assert "a worker process that makes batches died" in capsys.readouterr().err


def test_no_room_for_semaphores_is_found_before_training(archive, tmp_path, monkeypatch, capsys):
    def no_room():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(multiprocessing, "Lock", no_room)
    with pytest.raises(SystemExit) as exit:
        train(monkeypatch, archive, tmp_path / "run", "data.pipeline=host", "data.num_workers=2")
    assert exit.value.code == 2
    assert "/dev/shm" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


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
        assert f"is in use by process {holder.pid}" in capsys.readouterr().err
    assert_same_run(output, whole())
    holder.kill()
    holder.wait()
    resume(monkeypatch, output)


def test_what_is_replaced_is_kept_until_something_else_has_learned(whole, tmp_path, monkeypatch):
    output = shutil.copytree(whole(), tmp_path / "run")
    for _ in range(2):  # the second replaces a run that was stopped before its first step was done
        with monkeypatch.context() as patch:
            patch.setattr(trainer, "train_step", interrupted)
            with pytest.raises(SystemExit):
                train_over(patch, output)
        assert_same_run(output / "replaced", whole())


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_a_replacement_that_was_cut_short_is_finished_by_the_next(whole, archive, tmp_path, monkeypatch):
    output = shutil.copytree(whole(), tmp_path / "run")
    (output / ".replaced").mkdir()
    for name in ("checkpoints", *filenames.CHECKPOINT, "best_model.pdparams"):
        (output / name).rename(output / ".replaced" / name)
    train(monkeypatch, archive, output, flags=["--overwrite"])
    assert_same_run(output / "replaced", whole())
    assert_same_run(output, whole())


def train_over(monkeypatch, output):
    archive = load_config(output / "config.yaml").data.file
    train(monkeypatch, archive, output, flags=["--overwrite"])


# Files of checkpoints


@pytest.fixture
def three(tmp_path):
    """The checkpoints of the steps 10, 20 and 30."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (10, 20, 30):
        save(checkpoints, step)
    return checkpoints


def save(checkpoints, step, **options):
    weights = {"w": paddle.full([100], step, dtype="float32")}
    rest = {"step": step, "text": "x" * 100}
    checkpoints.save(weights, {"m": paddle.zeros([50])}, rest, epoch=0, step=step, **options)


def step_of(folder):
    return pdparams.load(folder / "latest.pdstates")["step"]


def test_the_newest_are_kept_and_latest_is_the_newest(three, tmp_path):
    save(three, 40)
    assert [step_of(folder) for folder in three.all()] == [40, 30, 20]
    assert step_of(tmp_path) == 40
    for name in filenames.CHECKPOINT:
        assert (tmp_path / name).read_bytes() == (three.all()[0] / name).read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"checkpoints", *filenames.CHECKPOINT}


def test_one_under_a_name_of_its_own_is_never_resumed_from_nor_dropped(three):
    save(three, 39, prefix="diverged_")
    assert step_of(three.newest()[0]) == step_of(three.output) == 30
    for step in (40, 50, 60):
        save(three, step)
    assert [step_of(folder) for folder in three.all()] == [60, 50, 40]
    assert (three.folder / "diverged_epoch_0000_step_00000039").exists()


DAMAGES = {
    **{f"cut to {share}": lambda data, share=share: data[: int(len(data) * share)] for share in (0, 0.01, 0.5, 0.99)},
    **{
        f"byte flipped at {share}": lambda data, share=share: (
            data[: int(len(data) * share)]
            + bytes([data[int(len(data) * share)] ^ 1])
            + data[int(len(data) * share) + 1 :]
        )
        for share in (0, 0.2, 0.4, 0.6, 0.8, 0.99)
    },
    "removed": None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", filenames.CHECKPOINT)
def test_damage_is_noticed_and_the_checkpoint_before_is_used(name, damage, three):
    for number, expected in enumerate((20, 10), start=1):
        damaged = three.newest()[0]
        hurt(damaged / name, DAMAGES[damage])
        found, told = three.newest()
        assert step_of(found) == expected
        assert len(told) == number
        assert damaged.name in told[-1]
    hurt(found / name, DAMAGES[damage])
    with pytest.raises(CheckpointError, match="has no whole checkpoint"):
        three.newest()


def hurt(file, damage):
    if damage:
        file.write_bytes(damage(file.read_bytes()))
    else:
        file.unlink()


def test_a_damaged_one_is_put_aside_by_the_next_and_drops_no_whole_one(three):
    hurt(three.newest()[0] / filenames.STATES[0], DAMAGES["cut to 0.5"])
    save(three, 25)
    assert [step_of(folder) for folder in three.all()] == [25, 20, 10]
    assert (three.folder / "damaged_epoch_0000_step_00000030").exists()


def test_a_damaged_one_is_replaced_by_the_same_state_and_a_whole_one_is_left_alone(three):
    hurt(three.newest()[0] / filenames.STATES[0], DAMAGES["cut to 0.5"])
    save(three, 30)
    assert step_of(three.newest()[0]) == 30
    before = (three.newest()[0] / filenames.STATES[0]).stat().st_ino
    save(three, 30)
    assert (three.newest()[0] / filenames.STATES[0]).stat().st_ino == before


class Killed(BaseException):
    pass


def dying_at(call, monkeypatch):
    """Let the call of that number, among those that reach the disk, be the last that happens; return the calls."""
    calls = []

    def dying(original):
        def function(*arguments, **keywords):
            calls.append(original)
            if len(calls) == call:
                raise Killed
            return original(*arguments, **keywords)

        return function

    monkeypatch.setattr(paddle, "save", dying(paddle.save))
    for name in ("fsync", "rename", "replace", "link"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    monkeypatch.setattr(shutil, "rmtree", dying(shutil.rmtree))
    return calls


def test_a_kill_in_mid_save_leaves_the_one_before(tmp_path, monkeypatch):
    """Each call to the disk in turn is the last that happens; then the same is saved again."""
    killed, call = True, 0
    while killed:
        call += 1
        checkpoints = Checkpoints(tmp_path / str(call), keep=2)
        for step in (10, 20):
            save(checkpoints, step)
        with monkeypatch.context() as patch:
            calls = dying_at(call, patch)
            try:
                save(checkpoints, 30)
                killed = False
            except Killed:
                pass
        found, damage = checkpoints.newest()
        assert step_of(found) in (20, 30)
        assert damage == []
        save(checkpoints, 30)
        assert [step_of(folder) for folder in checkpoints.all()] == [30, 20]
        assert step_of(checkpoints.output) == 30
        save(checkpoints, 40)
        assert {file.name for file in checkpoints.output.iterdir()} == {"checkpoints", *filenames.CHECKPOINT}
        assert len(list(checkpoints.folder.iterdir())) == 2
    assert len(calls) == call - 1 > 15


def test_a_manifest_names_size_and_checksum(three):
    manifest = json.loads((three.all()[0] / filenames.MANIFEST).read_text())
    assert set(manifest) == set(filenames.STATES)
    for name, measured in manifest.items():
        assert checkpoints_module._measure(three.all()[0] / name) == measured
