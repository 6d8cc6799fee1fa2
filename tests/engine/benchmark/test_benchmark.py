import json
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import paddle
import psutil
import pytest

from engine.benchmark import measure, subjects
from engine.benchmark.process import Process
from engine.config.load import load_config
from engine.errors import UserError
from models import build_model
from tests.support.device import DEVICE
from tests.support.errors import one_line_about, refuses

PROJECT = Path(__file__).parents[3]
MICRO = PROJECT / "configs" / "micro_cifar10.yaml"
SMALL = ["-c", MICRO, "--batch", "2", "--steps", "2", "--device", DEVICE, "-o", "data.num_workers=0"]
OTHER = """
from models import build_model

def build(variant, num_classes):
    print("what a file prints does no harm")
    return build_model(f"regionvit_{variant}_32", num_classes=num_classes)
"""


def tool(*arguments):
    before = sys.argv
    sys.argv = ["benchmark.py", *map(str, arguments)]
    try:
        runpy.run_path(str(PROJECT / "tools" / "benchmark.py"), run_name="__main__")
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "other.py").write_text(OTHER, encoding="utf-8")
    nowhere = f"data.file={folder}/none.tar.gz"
    tool(
        *SMALL,
        "-o",
        nowhere,
        "-o",
        "optimizer.name=Adam",
        "--against",
        folder / "other.py",
        "--json",
        folder / "report.json",
    )
    assert sorted(file.name for file in folder.iterdir()) == ["other.py", "report.json"]
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def assert_rate(entry, key="images_per_second"):
    assert 0 < entry["min"] <= entry[key] <= entry["max"]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["forward", "train_step", "end_to_end"])
def test_a_part_has_its_rate_and_peak_memory(report, part):
    assert_rate(report[part])
    assert report[part]["peak_memory_mb"] > 10


@pytest.mark.slow
def test_every_pipeline_is_timed(report):
    assert list(report["pipelines"]) == list(measure.pipelines())
    for entry in report["pipelines"].values():
        assert_rate(entry)
        assert "random pictures" in entry["data"]


@pytest.mark.slow
def test_saving_is_timed_in_seconds(report):
    assert_rate(report["save"], "seconds")
    model = build_model("regionvit_micro_conv_32", num_classes=10)
    numbers = 3 * sum(int(parameter.size) for parameter in model.parameters())  # weights and Adam's two moments
    assert report["save"]["megabytes"] == pytest.approx(4 * numbers / 1e6, rel=0.05)


@pytest.mark.slow
def test_a_share_of_time_is_spent_waiting(report):
    assert 0 < report["end_to_end"]["waiting_for_data"] < 1


@pytest.mark.slow
def test_another_implementation_is_timed_in_turns(report):
    for part in measure.COMPARED:
        ours, theirs = report[part], report["against"][part]
        assert_rate(theirs)
        assert theirs["ratio"] == ours["images_per_second"] / theirs["images_per_second"]
        assert theirs["peak_memory_mb"] > 10


@pytest.mark.slow
def test_one_model_has_as_many_launches_on_either_side_but_for_the_optimizer(report):
    ours, theirs = (
        {part: side[part]["launches_per_step"] for part in measure.COMPARED} for side in (report, report["against"])
    )
    assert ours["forward"] == pytest.approx(theirs["forward"], rel=0.01)
    assert (
        100 < 2 * ours["forward"] < ours["train_step"] < theirs["train_step"]
    )  # plain Adam goes parameter by parameter


@pytest.mark.slow
def test_the_report_says_what_was_measured_where_and_when(report):
    assert report["config"]["model.name"] == "regionvit_micro_conv_32"
    assert report["config"]["data.batch_size"] == 2
    assert report["arguments"]["steps"] == 2
    assert report["environment"]["device"].startswith(f"{DEVICE} (")
    assert {"paddle", "python", "git_commit"} <= set(report["environment"])
    assert report["date"][:2] == "20"


def test_only_restricts(tmp_path, capsys):
    tool(*SMALL, "--variant", "micro", "--only", "save", "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert set(report) & {*measure.PARTS, "against"} == {"save"}
    assert capsys.readouterr().out.startswith("Paddle ")


@pytest.mark.cpu
@pytest.mark.parametrize(("settings", "stride_kernel"), [("same", True), ("flags", False)])
def test_settings_decide_whether_the_other_has_our_flags(settings, stride_kernel):
    name = "FLAGS_use_stride_kernel"
    paddle.set_flags({name: True})
    assert subjects.settle(settings, "cpu") == "cpu"
    assert paddle.get_flags(name) == {name: stride_kernel}


@pytest.mark.parametrize("allowed", ["never", "always"])
def test_what_is_measured_follows_the_configs_tf32(allowed, monkeypatch):
    wanted = []
    monkeypatch.setattr("engine.system.tf32.allow", wanted.append)
    subjects._Bench().start(str(MICRO), [f"device={DEVICE}", f"amp.allow_tf32={allowed}"], None, "ours", [])
    assert wanted == [allowed]


def test_a_model_of_another_shape_is_refused(tmp_path):
    file = tmp_path / "other.py"
    file.write_text(
        "from paddle.nn import *\ndef build(*_): return Sequential(Flatten(), Linear(3072, 7))", encoding="utf-8"
    )
    config = load_config(MICRO, ["data.batch_size=2"])
    with refuses(UserError, key="build", value=[2, 7]):
        subjects.Theirs(config, str(file)).train_step()


@pytest.mark.parametrize(
    ("code", "key", "value"),
    [
        ("loss = None", "build", None),
        ("def build(*_): return 3", "build", "int"),
        ("import os; os.kill(os.getpid(), 9)", "--against", -9),
    ],
)
def test_a_failure_in_a_process_arrives_with_its_fields_and_ends_it(tmp_path, code, key, value):
    file = tmp_path / "other.py"
    file.write_text(code, encoding="utf-8")
    with (
        Process(str(MICRO), ["data.batch_size=2"], file=str(file), settings="same") as process,
        refuses(UserError, key=key, value=value, place=file) as caught,
    ):
        process.ask("start", device=DEVICE)
    assert f"--against {file}" in str(caught.value)
    assert process.process.poll() is not None


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--only", "forward,sleep"], ["--only", "sleep", *measure.PARTS]),
        (["--batch", "0"], ["--batch 0"]),
        (["--steps", "0"], ["--steps 0"]),
        (["--variant", "huge"], ["--variant huge", "tiny, small, medium, base, small_w14"]),
        (["--amp", "O3"], ["amp.level", "O3", "O0, O1, O2"]),
        (["--pipeline", "slow"], ["data.pipeline", "slow", *measure.pipelines()]),
        (["--against", "missing.py"], ["--against missing.py"]),
        (["--against", __file__, "--only", "save"], ["--only save", *measure.COMPARED]),
        (["--json", "missing/report.json"], ["--json missing/report.json"]),
        (["--settings", "none"], ["--settings", "none"]),
        (["--against-python", "python"], ["--against-python python", "--against"]),
        (["--against", __file__, "--against-python", "python", "--settings", "flags"], ["--settings flags", "threads"]),
        (["--against", __file__, "--against-python", "missing/python"], ["--against-python missing/python", "torch"]),
    ],
)
def test_bad_arguments_are_refused_in_one_line(capsys, arguments, parts):
    with pytest.raises(SystemExit) as exit:
        tool(*arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *parts)


def test_an_unusable_report_file_loses_nothing(tmp_path):
    (tmp_path / "report.json").mkdir()
    write = runpy.run_path(str(PROJECT / "tools" / "benchmark.py"))["write"]
    with refuses(UserError, key="--json", place=tmp_path / "report.json"):
        write(tmp_path / "report.json", {})
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_no_process_is_left_when_the_measuring_one_is_stopped(tmp_path, name):
    (tmp_path / "other.py").write_text(
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid()))", encoding="utf-8"
    )
    script = [sys.executable, PROJECT / "tools" / "benchmark.py", *SMALL, "--steps", "100000", "--only", "forward"]
    (tmp_path / "other.py").write_text(OTHER + (tmp_path / "other.py").read_text(encoding="utf-8"), encoding="utf-8")
    run = subprocess.Popen(
        [*map(str, script), "--against", str(tmp_path / "other.py")],
    )
    while not (tmp_path / "pid").exists():
        time.sleep(0.1)
    time.sleep(3)
    run.send_signal(getattr(signal, name))
    run.wait(timeout=60)
    until = time.monotonic() + 60
    while psutil.pid_exists(int((tmp_path / "pid").read_text(encoding="utf-8"))):
        assert time.monotonic() < until
        time.sleep(0.1)
