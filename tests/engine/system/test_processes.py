"""Several processes of one run, on Paddle's own launcher and gloo."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from visualdl import LogReader

import eval as eval_script
from data import DataError, Split, build_train_loader
from data.sampler import EpochBatchSampler
from engine.errors import UserError
from engine.output.checkpoints import Checkpoints
from engine.system import processes
from engine.weights import pdparams
from tests.support import archives
from tests.support.errors import one_line_about, refuses
from tests.support.runs import ROOT, arguments, assert_same_run, assert_same_weights, points, resume, script, train

pytestmark = [pytest.mark.cpu, pytest.mark.usefixtures("nano", "no_figures")]  # gloo; `two-gpus` checks NCCL
TRAIN, EVAL, DYING = (ROOT / "tests" / "support" / f"{name}.py" for name in ("nano_train", "nano_eval", "dying_train"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=100, test=21))


def launch(log, *script_and_arguments, **environment):
    """Run a script in two processes; return the launcher's exit status and what the first printed."""
    command = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", log, *script_and_arguments]
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        env={**inherited, **environment},
        encoding="utf-8",
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def pair(archive, tmp_path_factory):
    """A finished run of two processes with batches of 8."""
    folder = tmp_path_factory.mktemp("pair")
    settings = arguments(archive, folder / "run", "data.batch_size=8")
    status, printed = launch(folder / "logs", TRAIN, *settings)
    assert status == 0, printed
    return folder / "run"


GATHER = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
from data import Split
from engine.system import device, processes
device.select_device("cpu")
import paddle
processes.join()
whole = Split("whole", np.arange(21 * 2).reshape(21, 2), np.arange(21))
part = whole.share(processes.rank(), processes.size())
rows = processes.gather(paddle.to_tensor(part.images)).numpy()
print("parts:", processes.size(), "of", len(part), "whole:", np.array_equal(rows, whole.images))
"""


@pytest.mark.slow
def test_shares_of_different_lengths_are_gathered_in_their_order(tmp_path):
    script = tmp_path / "gather.py"
    script.write_text(GATHER.format(root=str(ROOT)), encoding="utf-8")
    status, printed = launch(tmp_path / "logs", script)
    assert status == 0, printed
    assert "parts: 2 of 11 whole: True" in printed


@pytest.mark.slow
def test_a_process_may_have_no_picture_to_validate_on(tmp_path):
    archive = archives.write(tmp_path / "cifar.tar.gz", archives.members(train=20, test=1))
    settings = arguments(archive, tmp_path / "run", "data.batch_size=8", "train.epochs=1")
    status, printed = launch(tmp_path / "logs", TRAIN, *settings)
    assert status == 0, printed


def test_the_predictions_of_all_processes_are_on_the_dashboard(pair):
    reader = LogReader(file_path=str(*(pair / "vdl").iterdir()))
    assert {"predictions", "confusion_matrix", "mistakes"} <= set(reader.get_tags()["image"])


@pytest.mark.parametrize("parts", [2, 3])
def test_the_parts_of_a_batch_make_up_the_batch_of_one_process(parts):
    whole = EpochBatchSampler(100, 6 * parts, seed=1)
    samplers = [EpochBatchSampler(100, 6, seed=1, part=part, parts=parts) for part in range(parts)]
    for epoch, start in ((0, 0), (3, 2)):
        for sampler in (whole, *samplers):
            sampler.set_epoch(epoch, start)
        together = np.concatenate([sampler.indices() for sampler in samplers], axis=1)
        np.testing.assert_array_equal(together, whole.indices())
    assert {len(sampler) for sampler in samplers} == {len(whole)}


@pytest.mark.parametrize("parts", [1, 2, 3, 25])
def test_the_shares_of_a_split_have_every_picture_once(parts):
    split = Split("test set", np.arange(21)[:, None, None, None], np.arange(21))
    shares = [split.share(part, parts) for part in range(parts)]
    np.testing.assert_array_equal(np.concatenate([share.labels for share in shares]), split.labels)
    np.testing.assert_array_equal(np.concatenate([share.images for share in shares]), split.images)


def test_too_few_pictures_for_all_processes_are_refused():
    split = Split("training set", np.zeros([10, 32, 32, 3], np.uint8), np.zeros(10, np.int64))
    with refuses(DataError) as caught:
        build_train_loader(split, batch_size=4, image_size=32, num_workers=0, seed=0, part=0, parts=3)
    assert "batch of 4 for each of 3 processes" in str(caught.value)


def test_two_processes_equal_one_of_twice_the_batch(pair, archive, tmp_path, monkeypatch):
    train(monkeypatch, archive, tmp_path / "one", "data.batch_size=16")
    one, two = (pdparams.read(folder / "final_model.pdparams") for folder in (tmp_path / "one", pair))
    for key in one:
        np.testing.assert_allclose(two[key], one[key], atol=5e-4)
    np.testing.assert_allclose(
        [(p[0], p[1], p[3], p[4], p[5]) for p in points(pair)],
        [(p[0], p[1], p[3], p[4], p[5]) for p in points(tmp_path / "one")],
        atol=1e-3,
    )
    log = (pair / "train.log").read_text(encoding="utf-8")
    assert "Processes: 2, each with batches of 8: 16 pictures per step, at the learning rate in the config" in log
    assert log.count("[Eval][Epoch 2/2]") == 1
    assert len(list((pair / "vdl").iterdir())) == 1


@pytest.mark.slow
def test_two_processes_with_two_small_batches_a_step_equal_them_with_one(pair, archive, tmp_path):
    settings = arguments(archive, tmp_path / "small", "data.batch_size=4", "train.accumulate=2")
    status, printed = launch(tmp_path / "logs", TRAIN, *settings)
    assert status == 0, printed
    one, two = (pdparams.read(folder / "final_model.pdparams") for folder in (pair, tmp_path / "small"))
    for key in one:
        np.testing.assert_allclose(two[key], one[key], atol=5e-4)
    log = (tmp_path / "small" / "train.log").read_text(encoding="utf-8")
    assert "Processes: 2, each with 2 batches of 4: 16 pictures per step, at the learning rate in the config" in log


@pytest.mark.slow
def test_two_processes_accumulate_the_same_with_recomputation(archive, tmp_path):
    """Their gradients are averaged by another call then; both have to wait for the step's last batch."""
    for recompute in ("false", "true"):
        options = ("data.batch_size=4", "train.accumulate=2", f"train.recompute={recompute}", "train.epochs=1")
        settings = arguments(archive, tmp_path / recompute, *options)
        status, printed = launch(tmp_path / "logs", TRAIN, *settings)
        assert status == 0, printed
    assert_same_weights(*(tmp_path / recompute / "latest.pdparams" for recompute in ("false", "true")))


@pytest.mark.slow
def test_two_processes_that_recompute_train_to_the_same_bits(pair, archive, tmp_path):
    options = ("data.batch_size=8", "train.recompute=true", "train.ema_decay=0.9")
    settings = arguments(archive, tmp_path / "run", *options)
    status, printed = launch(tmp_path / "logs", TRAIN, *settings)
    assert status == 0, printed
    for file in ("latest.pdparams", "latest.pdopt"):
        assert_same_weights(tmp_path / "run" / file, pair / file)


def test_another_number_of_processes_cannot_resume(pair, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        resume(monkeypatch, pair)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "1 process,", "with 2")


@pytest.mark.slow
def test_two_processes_measure_what_one_does(pair, monkeypatch, tmp_path):
    weights = ["--weights", pair / "best_model.pdparams"]
    status, printed = launch(tmp_path / "logs", EVAL, *weights, "--report", "--output", tmp_path / "two")
    assert status == 0, printed
    script(monkeypatch, eval_script.main, *weights, "--report", "--output", tmp_path / "one")
    one, two = (json.loads((tmp_path / name / "eval.json").read_text(encoding="utf-8")) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    for key in ("top1", "top5", "images", "confusion_matrix", "per_class", "split"):
        assert one[key] == two[key], key
    for key in ("loss", "cross_entropy", "ece"):
        assert one[key] == pytest.approx(two[key], abs=1e-6), key
    assert {file.name for file in (tmp_path / "one").iterdir()} == {file.name for file in (tmp_path / "two").iterdir()}
    assert printed.count("top1: ") == 1


@pytest.mark.slow
def test_two_processes_fit_the_temperature_that_one_does(archive, tmp_path, monkeypatch):
    """To 21 held-out pictures, so that their shares differ; both then use the note, with --flip too."""
    run = tmp_path / "run"
    train(monkeypatch, archive, run, "data.holdout=21", "train.epochs=1")
    weights, fit = ["--weights", run / "best_model.pdparams"], ["--calibrate", "--flip", "-o", "data.holdout=0"]
    script(monkeypatch, eval_script.main, *weights, *fit, "--output", tmp_path / "one")
    note = run / "best_model.temperature.json"
    alone = json.loads(note.read_text(encoding="utf-8"))
    note.unlink()
    status, printed = launch(tmp_path / "logs", EVAL, *weights, *fit, "--output", tmp_path / "two")
    assert status == 0, printed
    assert printed.count("fitted temperature") == 1
    together = json.loads(note.read_text(encoding="utf-8"))
    assert together["temperature"] == pytest.approx(alone["temperature"], rel=1e-4)
    assert together["images"] == alone["images"] == 21
    one, two = (json.loads((tmp_path / name / "eval.json").read_text(encoding="utf-8")) for name in ("one", "two"))
    assert two["calibrated"]["cross_entropy"] == pytest.approx(one["calibrated"]["cross_entropy"], abs=1e-4)


@pytest.mark.slow
def test_a_tool_in_two_processes_is_refused_in_one_line(pair, tmp_path):
    status, printed = launch(tmp_path / "logs", ROOT / "tools" / "plot_curves.py", pair)
    assert status != 0
    (line,) = {line for line in printed.splitlines() if line.startswith("error: ")}  # the launcher repeats its log
    assert "2 processes" in line
    assert "Traceback" not in (tmp_path / "logs" / "workerlog.0").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "call", "signal_name"), [(1, 5, "SIGTERM"), (0, 60, "SIGTERM"), (1, 8, "SIGKILL"), (0, 90, "SIGKILL")]
)
def test_two_processes_of_which_one_gets_a_signal_resume_to_the_same_bits(
    rank, call, signal_name, pair, archive, tmp_path
):
    """The second process writes nothing, so that its calls are training steps and evaluations alone."""
    settings = arguments(archive, tmp_path / "run", "data.batch_size=8", "train.save_every_steps=2")
    dying = [DYING, call, signal_name, *settings]
    status, printed = launch(tmp_path / "logs", *dying, DYING_RANK=str(rank))
    assert status != 0, printed
    assert ("Stopped by SIGTERM" in (tmp_path / "run" / "train.log").read_text(encoding="utf-8")) == (
        signal_name == "SIGTERM"
    )
    assert not (tmp_path / "run" / "final_model.pdparams").exists()
    status, printed = launch(tmp_path / "logs", TRAIN, "--resume", tmp_path / "run")
    assert status == 0, printed
    assert_same_run(tmp_path / "run", pair, bytes=True)


@pytest.mark.slow
def test_a_launcher_that_gets_a_signal_lets_all_save_though_it_signals_their_workers_too(archive, tmp_path):
    settings = arguments(archive, tmp_path / "run", "data.batch_size=8", "data.pipeline=host", "data.num_workers=2")
    dying = [DYING, 2, "SIGTERM", *settings, "-o", "train.epochs=20"]
    status, printed = launch(tmp_path / "logs", *dying, DYING_RANK="1", DYING_LAUNCHER="1")
    assert status != 0, printed
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    step = int(re.search(r"Stopped by SIGTERM at step (\d+)", log)[1])
    assert Checkpoints(tmp_path / "run").newest()[0].name.endswith(f"_step_{step:08}")


def test_a_paddle_without_communication_refuses_several_processes(monkeypatch):
    monkeypatch.setattr(processes, "size", lambda: 2)
    monkeypatch.setattr(processes.distributed, "is_available", lambda: False)
    with refuses(UserError, key="processes", value=2):
        processes.join()
