"""Runs of train.py: what they compute, what they write, and what they refuse."""

import contextlib
import fcntl
import io
import json
import math
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import paddle
import pytest
from visualdl import LogReader

import eval as eval_script
import train as train_script
from data import ARCHIVES, FOLDER
from engine.config.load import load_config
from engine.figures import predictions
from engine.history import COLUMNS, read_history
from engine.metrics.evaluate import Evaluation
from engine.metrics.quality import Predictions
from engine.output.dashboard import BEST, SCALARS
from engine.training import trainer
from engine.training.clock import FirstSteps
from engine.weights import pdparams
from models import VARIANTS, build_model
from tests.support import archives
from tests.support.device import DEVICE
from tests.support.drawing import blank_figures
from tests.support.errors import one_line_about
from tests.support.runs import (
    MICRO,
    ROOT,
    SMALL,
    assert_same_weights,
    histograms,
    scalars,
    script,
    train,
)

pytestmark = pytest.mark.usefixtures("nano")


@pytest.fixture(autouse=True)
def no_figures():
    """Only the runs of fixtures draw figures."""
    with blank_figures():
        yield


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=100, test=21))


@pytest.fixture(scope="module")
def trained(nano, archive, tmp_path_factory):
    """A finished run of two epochs of six steps, with figures, if small ones."""
    output = tmp_path_factory.mktemp("run") / "micro"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(predictions, "GRID", 2)
        train(monkeypatch, archive, output)
    return output


@pytest.fixture(scope="module")
def other(nano, archive, tmp_path_factory):
    """A finished run of one epoch that asks for other things."""
    output = tmp_path_factory.mktemp("run") / "other"
    with pytest.MonkeyPatch.context() as monkeypatch, blank_figures():
        train(monkeypatch, archive, output, "train.epochs=1", "train.seed=1", "amp.level=O1", "records.histograms=0")
    return output


def test_a_run_leaves_its_files(trained):
    names = {file.name for file in trained.iterdir()}
    assert names == {
        *("config.yaml", "environment.json", "train.log", "history.csv", "vdl", "loss.png", "accuracy.png"),
        *("best_model.pdparams", "best_optimizer.pdopt", "final_model.pdparams", "final_optimizer.pdopt"),
        *("checkpoints", "latest.pdparams", "latest.pdopt", "latest.pdstates", "latest.json", ".lock"),
    }


def test_the_log_says_the_precision(trained, other):
    assert "computing in float32\n" in (trained / "train.log").read_text(encoding="utf-8")
    assert "computing in float32 (amp.level O1 does nothing on a CPU)\n" in (other / "train.log").read_text(
        encoding="utf-8"
    )


@pytest.mark.slow
def test_a_compiled_run_starts_as_another_and_ends(trained, archive, tmp_path, monkeypatch):
    train(monkeypatch, archive, tmp_path / "static", "train.to_static=true", "train.epochs=1")
    ours, plain = (read_history(folder / "history.csv") for folder in (tmp_path / "static", trained))
    assert ours[0].loss == pytest.approx(plain[0].loss, abs=1e-5)
    assert (tmp_path / "static" / "final_model.pdparams").exists()


@pytest.mark.parametrize("pipeline", ["host", pytest.param("fast", marks=pytest.mark.slow)])
def test_the_number_of_workers_does_not_change_a_bit(pipeline, archive, tmp_path, monkeypatch):
    for workers in (0, 2):
        settings = (f"data.pipeline={pipeline}", f"data.num_workers={workers}", "train.epochs=1")
        train(monkeypatch, archive, tmp_path / str(workers), *settings)
    assert_same_weights(*(tmp_path / str(workers) / "final_model.pdparams" for workers in (0, 2)))


def test_history_has_every_recorded_point(trained):
    assert (
        (trained / "history.csv").read_text(encoding="utf-8").splitlines()[0]
        == "step,epoch,split,lr,loss,top1,ips,reader_cost,gradient_norm,gpu_memory,cross_entropy"
        == ",".join(COLUMNS)
    )
    points = read_history(trained / "history.csv")
    assert [(p.step, p.epoch, p.split) for p in points] == [
        *((0, 1, "train"), (4, 1, "train"), (5, 1, "train"), (6, 1, "val")),
        *((6, 2, "train"), (10, 2, "train"), (11, 2, "train"), (12, 2, "val")),
    ]
    for point in points:
        cosine = 1e-3 * (1 + np.cos(np.pi * point.step / 12)) / 2
        assert point.lr == pytest.approx(cosine, abs=1e-12)
        assert 0 <= point.top1 <= 1
        assert point.ips > 0
        if point.split == "train":
            assert point.gradient_norm > 0
            assert point.reader_cost >= 0
        assert math.isnan(point.gpu_memory)  # on a CPU
    of_validation = [p.top1 for p in points if p.split == "val"]
    assert all(round(top1 * 21, 6).is_integer() for top1 in of_validation)


def test_the_log_reads_as_paddles(trained):
    lines = (trained / "train.log").read_text(encoding="utf-8").splitlines()
    assert any(f"Device: {DEVICE} (" in line for line in lines)
    steps = [line for line in lines if "[Train][Epoch 1/2][Iter: 4/6] lr: " in line]
    assert len(steps) == 1
    for word in ("loss: ", "top1: ", "batch_cost: ", " s, reader_cost: ", "ips: ", " samples/s, eta: 0:00:0"):
        assert word in steps[0]
    assert sum("[Eval][Epoch " in line for line in lines) == 2
    assert any("Done in " in line for line in lines)


def test_the_best_weights_are_those_of_the_best_epoch(trained, archive, tmp_path, monkeypatch):
    points = [p for p in read_history(trained / "history.csv") if p.split == "val"]
    best = max(points, key=lambda p: p.top1)
    script(monkeypatch, eval_script.main, "--weights", trained / "best_model.pdparams", "--output", tmp_path)
    report = json.loads((tmp_path / "eval.json").read_text(encoding="utf-8"))
    assert report["top1"] == best.top1
    assert report["loss"] == pytest.approx(best.loss, abs=1e-9)
    script(monkeypatch, eval_script.main, "--weights", trained / "final_model.pdparams", "--output", tmp_path)
    assert json.loads((tmp_path / "eval.json").read_text(encoding="utf-8"))["top1"] == points[-1].top1


def made_up_result(top1):
    predictions = Predictions(np.full([21, 10], 0.1, np.float32), np.zeros(21, np.int64))
    return Evaluation(loss=1.0, cross_entropy=1.0, top1=top1, top5=1.0, images=21, ips=1.0, predictions=predictions)


def test_best_is_the_first_epoch_of_the_highest_accuracy(archive, tmp_path, monkeypatch):
    """An accuracy of 0 in the first epoch counts, too."""
    accuracies, weights = [0.0, 0.7, 0.6, 0.7], []

    def made_up(model, *arguments):
        if weights:
            assert (tmp_path / "run" / "best_model.pdparams").exists()
        weights.append(model.head.weight.numpy())
        return made_up_result(accuracies[len(weights) - 1])

    monkeypatch.setattr(trainer, "evaluate", made_up)
    train(monkeypatch, archive, tmp_path / "run", "train.epochs=4", "data.batch_size=50")
    saved = {
        name: pdparams.read(tmp_path / "run" / f"{name}_model.pdparams")["head.weight"] for name in ("best", "final")
    }
    np.testing.assert_array_equal(saved["best"], weights[1])
    np.testing.assert_array_equal(saved["final"], weights[3])
    assert not np.array_equal(weights[1], weights[3])


def test_training_learns(archive, tmp_path, monkeypatch):
    """Classes are colours here, which any model that learns can distinguish."""
    train(monkeypatch, archive, tmp_path / "run", "train.epochs=4", "optimizer.learning_rate=4e-3")
    points = read_history(tmp_path / "run" / "history.csv")
    assert points[-1].top1 > 0.5
    assert points[-2].loss < points[0].loss - 0.5


def test_the_saved_config_runs_the_same_thing_again(trained, tmp_path, monkeypatch):
    script(monkeypatch, train_script.main, "-c", trained / "config.yaml", "-o", f"output_dir={tmp_path / 'again'}")
    assert_same_weights(trained / "final_model.pdparams", tmp_path / "again" / "final_model.pdparams")
    columns = [
        [(p.step, p.loss, p.top1) for p in read_history(folder / "history.csv")]
        for folder in (trained, tmp_path / "again")
    ]
    assert columns[0] == columns[1]


def test_another_seed_gives_other_weights(trained, other):
    losses = [read_history(folder / "history.csv")[0].loss for folder in (trained, other)]
    assert losses[0] != losses[1]  # of the first step


def test_provenance_lies_beside_the_config(trained, archive):
    environment = json.loads((trained / "environment.json").read_text(encoding="utf-8"))
    assert environment["paddle"] == paddle.__version__
    assert environment["device"].startswith(f"{DEVICE} (")
    assert environment["archive"]["official"] is False
    assert "git_commit" in environment


def test_the_dashboard_has_what_the_history_has(trained):
    points, shown = read_history(trained / "history.csv"), scalars(trained)
    assert list(shown["curves/top1/val"]) == [(p.step, np.float32(p.top1)) for p in points if p.split == "val"]
    for column in ("loss", "top1", "lr", "gradient_norm"):
        expected = [(p.step, np.float32(getattr(p, column))) for p in points if p.split == "train"]
        assert shown[SCALARS[column].format(split="train")] == expected
    assert set(BEST.values()) <= set(shown)


def test_the_dashboard_has_every_kind_of_record(trained):
    reader = LogReader(file_path=str(*(trained / "vdl").iterdir()))
    tags = reader.get_tags()
    assert set(tags["scalar"]) == {
        *("curves/loss/train", "curves/loss/val", "curves/top1/train", "curves/top1/val", "curves/cross_entropy/val"),
        *("optimizer/lr", "optimizer/gradient_norm", "val/best", "val/loss"),
        *("performance/ips/train", "performance/ips/val", "performance/reader_cost"),  # and no GPU's memory
    }
    assert set(tags["image"]) == {"augmented", "predictions", "confusion_matrix", "mistakes"}
    assert "hyper_parameters" in tags
    config, provenance = (reader.get_data("text", tag)[0].text.encoded_text_string for tag in ("config", "provenance"))
    assert "model.name: regionvit_micro_conv_32 · " in config
    assert f"paddle: {paddle.__version__} · " in provenance
    assert "data_md5: " in provenance


def test_histograms_are_shown_at_their_interval_of_epochs(archive, tmp_path, monkeypatch):
    train(monkeypatch, archive, tmp_path / "run", "train.epochs=3", "records.histograms=2", "data.batch_size=50")
    shown = histograms(tmp_path / "run")
    weights = pdparams.read(tmp_path / "run" / "final_model.pdparams")
    assert len(shown) == 2 * len([key for key in weights if ".proj_cls." not in key])
    assert {step for ((step, _, _),) in shown.values()} == {4}
    assert "layers.0 gradients/block.1.attn.qkv.weight" in shown
    assert "head parameters/weight" in shown


def test_there_are_no_histograms_at_an_interval_of_0(other):
    assert histograms(other) == {}


@pytest.mark.parametrize(
    "mixing",
    [
        pytest.param([], id="recipe"),
        pytest.param(["data.mixup=1", "data.cutmix=1"], id="mixing", marks=pytest.mark.slow),
    ],
)
def test_between_log_points_nothing_is_read_back(mixing, archive, tmp_path, monkeypatch):
    """Each read-back waits for the device. They are counted during the training epochs, whoever calls them."""
    counts = {"numpy": 0, "item": 0, "__float__": 0, "__int__": 0, "__bool__": 0, "tolist": 0, "__array__": 0}
    seen = {}
    in_epoch = []

    def counting(name):
        original = getattr(paddle.Tensor, name)

        def method(self, *arguments, **keywords):
            counts[name] += bool(in_epoch)
            return original(self, *arguments, **keywords)

        return method

    original_epoch = trainer.Trainer.train_one_epoch

    def epoch(*arguments, **keywords):
        in_epoch.append(True)
        original_epoch(*arguments, **keywords)
        in_epoch.clear()

    for interval in (3, 100):
        with monkeypatch.context() as patch:
            for name in counts:
                counts[name] = 0
                patch.setattr(paddle.Tensor, name, counting(name))
            patch.setattr(trainer.Trainer, "train_one_epoch", epoch)
            settings = ["train.epochs=1", f"train.log_interval={interval}", *mixing]
            train(patch, archive, tmp_path / str(interval), *settings)
        seen[interval] = sum(counts.values()) - FirstSteps.COUNT  # once in a run, to see how long it will take
    # 6 steps: log points 0, 3, 5 against 0, 5.
    assert seen[3] > 0
    assert seen[3] / 3 == seen[100] / 2


def test_a_folder_that_holds_a_run_is_refused_without_overwrite(trained, archive, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / "eval.json").write_text("of the old weights", encoding="utf-8")
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    with pytest.raises(SystemExit) as exit:
        train(monkeypatch, archive, folder, "train.epochs=1")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, f"output_dir: {folder}", "--overwrite")
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before
    train(monkeypatch, archive, folder, "train.epochs=1", "data.batch_size=50", flags=["--overwrite"])
    assert len(read_history(folder / "history.csv")) == 3
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert not (folder / "eval.json").exists()
    assert len(list((folder / "vdl").iterdir())) == 1
    replaced = {file.name: file.read_bytes() for file in (folder / "replaced").iterdir() if file.is_file()}
    assert {**replaced, "notes.txt": b"mine", ".lock": before[".lock"]} == before


def test_holdout_validates_on_training_pictures(archive, tmp_path, monkeypatch):
    train(monkeypatch, archive, tmp_path / "run", "train.epochs=1", "data.holdout=5", "data.holdout_split=random")
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert "5 to validate on (held-out training pictures)" in log
    (warning,) = (line for line in log.splitlines() if "WARNING" in line)  # 10 classes cannot all be in 5 pictures
    assert "data.holdout_split=stratified" in warning
    (evaluate,) = [line for line in log.splitlines() if "Next: " in line]
    assert "-o data.holdout=0" in evaluate
    script(monkeypatch, eval_script.main, "--weights", tmp_path / "run" / "best_model.pdparams")
    report = json.loads((tmp_path / "run" / "eval.json").read_text(encoding="utf-8"))
    assert (report["images"], report["split"]) == (5, "held-out training pictures")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("data.file=none.tar.gz", ["none.tar.gz", "get_cifar10.py"]),
        ("optimizer.lerning_rate=1", ["optimizer.lerning_rate", "learning_rate"]),
        ("data.batch_size=101", ["data.batch_size", "100", "101"]),
        ("data.holdout=100", ["data.holdout: 100"]),
        ("model.num_classes=7", ["model.num_classes: 7", "10 classes"]),
        ("device=gpu", ["device: gpu", "device=cpu"]),
        ("device=gpu:3", ["device: gpu:3"]),
        ("output_dir=file/run", ["output_dir: file/run"]),
    ],
)
@pytest.mark.usefixtures("no_gpu")
def test_a_users_mistake_is_one_line_and_creates_nothing(tmp_path, monkeypatch, capsys, archive, override, parts):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way", encoding="utf-8")
    with pytest.raises(SystemExit) as exit:
        train(monkeypatch, archive, "out", override)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *parts)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("arguments", [[], ["-c"], ["-c", "x.yaml", "--what"]], ids=" ".join)
def test_bad_arguments_are_one_line(arguments, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        script(monkeypatch, train_script.main, *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "--help")


SMALL_ENOUGH = {
    "tiny_cifar10",
    "micro_cifar10",
    "digits_demo",
    "micro_cifar100",
    "micro_folder",
}
OFFICIAL = {"Ti": "tiny", "S": "small", "M": "medium", "B": "base"}


def official(file):
    """Make random weights of the variant and the 1,000 classes that an official file of that name has."""
    model = build_model(f"regionvit_{OFFICIAL[file.stem.removeprefix('RegionViT-')]}_224", num_classes=1000)
    pdparams.save({file: model.state_dict()})
    return file


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(file, id=file.stem, marks=[] if file.stem in SMALL_ENOUGH else pytest.mark.slow)
        for file in sorted((ROOT / "configs").glob("*.yaml"))
    ],
)
def test_every_config_trains_one_step(config, tmp_path, monkeypatch):
    """With one encoder a stage, which is built and trained as many are."""
    for name, variant in VARIANTS.items():
        monkeypatch.setitem(VARIANTS, name, {**variant, "depth": (1,) * len(variant["depth"])})
    wanted, overrides = load_config(config), ["data.batch_size=2", "train.epochs=1"]
    train_pictures = 2 * wanted.train.accumulate
    if wanted.data.name == "folder":  # which has no classes but those of its pictures
        overrides += ["data.batch_size=10"]
        train_pictures = 10
    if wanted.data.holdout:
        overrides.append("data.holdout=0")  # of so few pictures none can be held out
    if wanted.optimizer.warmup_epochs:
        overrides.append("optimizer.warmup_epochs=0.5")  # the only epoch is no warm-up
    if wanted.train.pretrained:
        overrides.append(f"train.pretrained={official(tmp_path / Path(wanted.train.pretrained).name)}")
    file = archives.of(wanted.data.name, tmp_path, train_pictures, test=10)
    train(monkeypatch, file, tmp_path / "run", *overrides, config=config)
    points = read_history(tmp_path / "run" / "history.csv")
    assert [(p.step, p.split) for p in points] == [(0, "train"), (1, "val")]
    assert np.isfinite([p.loss for p in points]).all()


def test_a_config_of_ones_own_can_start_from_a_shipped_one(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(f"_base_: {MICRO}\ntrain: {{epochs: 1}}\n", encoding="utf-8")
    assert load_config(own).output_dir == "output/own"
    assert load_config(own).train.epochs == 1


@pytest.fixture(scope="module")
def watched(nano, archive, tmp_path_factory):
    """What a run of one epoch of six steps writes to a terminal, its log, and the loss of each step."""
    output, losses, original = tmp_path_factory.mktemp("run") / "watched", [], trainer.train_step

    def train_step(*arguments):
        result = original(*arguments)
        losses.append(result[0].item())
        return result

    terminal = io.StringIO()
    with pytest.MonkeyPatch.context() as monkeypatch, blank_figures(), contextlib.redirect_stderr(terminal):
        monkeypatch.setattr(trainer, "has_progress_bar", lambda: True)
        monkeypatch.setattr(trainer, "train_step", train_step)
        monkeypatch.setattr(trainer, "DAY", 1e-6)  # so that the run takes days
        train(monkeypatch, archive, output, "train.epochs=1", "train.log_interval=10")
    return terminal.getvalue(), (output / "train.log").read_text(encoding="utf-8"), losses


def test_the_progress_bar_shows_every_step_of_an_epoch_shorter_than_log_interval(watched):
    bars = [line for line in watched[0].split("\r") if "loss=" in line]
    shown = {int(re.search(r"(\d)/6", line)[1]): re.search(r"loss=([\d.]+)", line)[1] for line in bars}
    assert shown == {step: f"{loss:.3f}" for step, loss in enumerate(watched[2], start=1)}


def test_the_progress_bar_has_one_estimate_of_the_time_that_is_left(watched):
    bars = [line for line in watched[0].split("\r") if "loss=" in line]
    assert all(line.count("eta=") == 1 and "<" not in line for line in bars)


def test_the_line_of_an_epoch_has_its_mean_training_loss(watched):
    (line,) = [line for line in watched[1].splitlines() if "[Eval]" in line]
    assert float(re.search(r"train_loss: ([\d.]+)", line)[1]) == pytest.approx(np.mean(watched[2]), abs=1e-5)


def test_a_run_of_days_warns_once_after_its_first_steps(watched, trained):
    (line,) = [line for line in watched[1].splitlines() if "WARNING" in line]
    assert " days " in line
    assert "train.epochs" in line
    assert "WARNING" not in (trained / "train.log").read_text(encoding="utf-8")


def test_a_run_of_days_of_another_model_is_pointed_to_micro(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "DAY", 1e-6)
    monkeypatch.setattr(trainer, "MICRO", "another")
    train(monkeypatch, archive, tmp_path / "run", "train.epochs=1")
    assert "configs/micro_cifar10.yaml" in (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert {f"micro_{name}.yaml" for name in (*ARCHIVES, FOLDER)} <= {file.name for file in MICRO.parent.iterdir()}


def test_the_first_step_does_not_count_for_the_pace(monkeypatch):
    steps, times = FirstSteps(), iter([50.0, 52.0, 56.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    while steps.are_going_on():
        steps.step_is_done()
    assert steps.pace() == 3.0


def test_matplotlibs_first_start_on_a_machine_says_nothing(tmp_path):
    """Paddle lets notes of all libraries through, so one about the fonts would be the first line of a run."""
    first = "import logging, engine; logging.basicConfig(level=logging.INFO); import matplotlib.figure as figure;"
    late = "from matplotlib.font_manager import _log; _log.warning('Matplotlib is building the font cache; wait.')"
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", first + late], cwd=ROOT, env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.glob("fontlist*"))


@pytest.mark.slow
def test_a_terminal_gets_a_progress_bar_instead_of_lines_of_steps(archive, tmp_path):
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
    settings = [
        f"data.file={archive}",
        f"output_dir={tmp_path / 'run'}",
        *SMALL,
        "data.num_workers=2",
        "train.epochs=1",
    ]
    arguments = ["train.py", "-c", str(MICRO), *(part for setting in settings for part in ("-o", setting))]
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = b""
    while True:
        try:
            seen += os.read(master, 4096)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait() == 0
    assert b"epoch 1/1:" in seen
    assert b"/6 [" in seen
    assert b"[Train]" not in seen
    assert b"[Eval][Epoch 1/1]" in seen
    assert "[Train][Epoch 1/1][Iter: 4/6]" in (tmp_path / "run" / "train.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_continues_when_nobody_reads_its_output_any_more(archive, tmp_path):
    settings = [f"data.file={archive}", f"output_dir={tmp_path / 'run'}", *SMALL, "train.epochs=1"]
    arguments = ["train.py", "-c", str(MICRO), *(part for setting in settings for part in ("-o", setting))]
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    error = process.stderr.read()
    assert (process.wait(), error) == (0, b"")
    assert "Done in" in (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
