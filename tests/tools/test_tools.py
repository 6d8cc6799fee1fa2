import shutil
import subprocess
import sys

import cv2
import numpy as np
import paddle
import pytest

import data
from engine.figures.curves import COLOURS, draw_curves
from engine.history import COLUMNS, Point, read_history
from tests.support.errors import one_line_about
from tests.support.models import without_random_values
from tests.support.scripts import TOOLS, tool

HISTORY = "\n".join(
    [
        ",".join(COLUMNS),
        "0,1,train,0.1,2.5,0.1,10",
        "10,1,train,0.1,2.0,0.2,10",
        "20,1,val,0.1,1.9,0.3,10",
        "20,2,train,0.1,1.8,0.4,10",
        "40,2,val,0.1,1.7,0.5,10",
    ]
)


@pytest.mark.parametrize("name", [file.name for file in sorted(TOOLS.glob("[!_]*.py"))])
def test_every_tool_has_help_with_an_example(name, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, name, "--help")
    assert exit.value.code == 0
    assert f"example:\n  python tools/{name}" in capsys.readouterr().out


SCRIPTS = [TOOLS.parent / "train.py", TOOLS.parent / "eval.py", *sorted(TOOLS.glob("[!_]*.py"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_without_the_environment_a_script_says_how_to_set_it_up(script):
    """Python without site-packages has neither numpy nor Paddle."""
    arguments = {
        "train.py": ["-c", "configs/micro_cifar10.yaml"],
        "eval.py": ["--weights", "w.pdparams"],
        "detect.py": ["train", "-c", "integrations/configs/retinanet_regionvit_shapes.yml"],
        "compare.py": ["a", "b"],
        "convert_weights.py": ["a.pth", "b.pdparams"],
        "explore.py": ["--weights", "w.pdparams"],
        "export.py": ["--weights", "w.pdparams"],
        "plot_curves.py": ["a"],
        "predict.py": ["--weights", "w.pdparams", "a.jpg"],
        "robustness.py": ["--weights", "w.pdparams"],
        "show_architecture.py": ["-c", "configs/micro_cifar10.yaml"],
        "repeat.py": ["-c", "configs/micro_cifar10.yaml", "--seeds", "1"],
        "show_attention.py": ["--weights", "w.pdparams", "a.jpg"],
        "show_augmentation.py": ["-c", "configs/micro_cifar10.yaml"],
        "segment.py": ["train", "-c", "integrations/configs/upernet_regionvit_shapes.yml"],
        "summary.py": ["-c", "configs/micro_cifar10.yaml"],
    }
    command = [sys.executable, "-S", script, *arguments.get(script.name, [])]
    for found in (True, False):  # without it, a script in tools/ does not find the project's own modules either
        environ = {"PYTHONPATH": str(TOOLS.parent)} if found else {}
        done = subprocess.run(command, env=environ, cwd=TOOLS.parent, capture_output=True, encoding="utf-8")
        assert done.returncode == 2, done.stderr
        one_line_about(done.stderr, sys.executable, f"cd {TOOLS.parent} && make setup && . .venv/bin/activate")


@pytest.mark.parametrize("name", [file.name for file in sorted(TOOLS.glob("[!_]*.py"))])
def test_a_tool_refuses_to_be_several_processes(name, monkeypatch, capsys):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, name)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "2 processes", "paddle.distributed.launch")


def test_a_path_of_an_argument_may_begin_with_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "history.csv").write_text(HISTORY, encoding="utf-8")
    tool(monkeypatch, "plot_curves.py", "~/")
    assert f"{tmp_path}/loss.png" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "compare.py", "a", "b", "--output=~nobody-here/x")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "--output", "~nobody-here/x")


def test_summary_prints_layers_parameters_and_flops(monkeypatch, capsys):
    with without_random_values():
        tool(monkeypatch, "summary.py", "-c", TOOLS.parent / "configs" / "tiny_cifar10.yaml")
    out = capsys.readouterr().out
    assert out.count("R2LEncoder") == 14
    assert "Model: regionvit_tiny_224, 10 classes, one picture of 224 x 224" in out
    assert "Parameters: 13,334,806" in out
    assert "Multiply-adds: 2.41 G (FLOPs: 4.83 G)" in out


@pytest.mark.parametrize("config", [file.name for file in sorted(TOOLS.parent.glob("configs/*.yaml"))])
def test_summary_takes_every_config(config, monkeypatch, capsys):
    with without_random_values():
        tool(
            monkeypatch, "summary.py", "-c", TOOLS.parent / "configs" / config, "--depth", 1,
            "-o", "data.image_size=32", "-o", "model.num_classes=7",
        )  # fmt: skip
    assert "7 classes, one picture of 32 x 32\nParameters: " in capsys.readouterr().out


@pytest.mark.parametrize("depth", ["0", "5", "all"])
def test_summary_refuses_a_depth_that_there_is_not(depth, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "summary.py", "-c", TOOLS.parent / "configs" / "tiny_cifar10.yaml", "--depth", depth)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "--depth", depth)


def test_curves_show_the_history(tmp_path, monkeypatch, capsys):
    (tmp_path / "history.csv").write_text(HISTORY, encoding="utf-8")
    tool(monkeypatch, "plot_curves.py", tmp_path)
    out = capsys.readouterr().out
    for name in ("loss.png", "accuracy.png"):
        assert name in out
        picture = cv2.imread(str(tmp_path / name))[:, :, ::-1].reshape(-1, 3)
        assert (picture == (255, 0, 0)).all(axis=1).sum() > 50  # train, red
        assert (picture == (0, 255, 255)).all(axis=1).sum() > 50  # validation, cyan


def test_curves_have_steps_and_epochs_on_x(tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY, encoding="utf-8")
    figures = draw_curves(read_history(tmp_path / "history.csv"))
    assert all("worse than validation" in figure.get_supxlabel() for figure in figures.values())
    for figure, title in zip(figures.values(), ["CE Loss", "Accuracy"], strict=True):
        (axes,) = figure.axes
        assert axes.get_title() == title
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert lines["train"].get_color() == COLOURS["train"] == "red"
        assert lines["validation"].get_color() == COLOURS["val"] == "cyan"
        assert lines["train"].get_xdata().tolist() == ([0, 10, 20] if title == "CE Loss" else [10, 20])
        assert lines["validation"].get_xdata().tolist() == [20, 40]
        (epochs,) = axes.child_axes
        assert epochs._functions[0](40) == 2


@pytest.mark.parametrize(
    ("history", "detail"),
    [(None, "No such file"), ("a,b\n1,2\n", "epoch"), (HISTORY + "\n1,x", "'x'")],
)
def test_curves_of_no_history_are_refused_in_one_line(tmp_path, monkeypatch, capsys, history, detail):
    if history is not None:
        (tmp_path / "history.csv").write_text(history, encoding="utf-8")
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "plot_curves.py", tmp_path)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, tmp_path / "history.csv", detail)


def test_after_one_epoch_the_only_training_accuracy_is_seen():
    points = [Point(step, 1, "train", 0.1, 2.0, 0.2, 9.0) for step in (0, 4, 5)]
    axes = draw_curves([*points, Point(6, 1, "val", 0.1, 2.0, 0.3, 9.0)])["top1"].axes[0]
    markers = {line.get_label(): (len(line.get_xdata()), line.get_marker()) for line in axes.get_lines()}
    assert markers == {"train": (1, "o"), "validation": (1, "o")}


def test_digits_come_as_an_archive_in_cifars_layout(tmp_path, monkeypatch):
    tool(monkeypatch, "make_digits.py", "--output", tmp_path / "sub" / "digits.tar.gz")
    digits = data.load(tmp_path / "sub" / "digits.tar.gz")
    assert (len(digits.train), len(digits.val)) == (1437, 360)
    assert digits.classes[3] == "digit three"
    assert np.bincount(digits.train.labels).min() > 100
    assert digits.train.images.max() == 255
    shutil.rmtree(tmp_path / "sub")


@pytest.mark.parametrize("name", data.ARCHIVES)
def test_a_download_does_not_touch_a_file_in_the_way(name, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.tar.gz").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, f"get_{name}.py", "--output", tmp_path / "a.tar.gz")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, tmp_path / "a.tar.gz")
    assert (tmp_path / "a.tar.gz").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(paddle.is_compiled_with_cuda(), reason="about a CPU build")
def test_kernels_for_a_gpu_are_not_looked_for_in_a_cpu_build(monkeypatch, capsys):
    monkeypatch.setenv("GLOG_v", "6")  # or the script would start itself again, with it
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "gpu_kernels.py")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "CPU build", "make gpu-kernels")
