"""Runs of train.py as a process that is killed, again and again, at random moments."""

import random
import re
import shutil
import subprocess
import sys

import pytest

from tests.support import archives
from tests.support.runs import ROOT, arguments, assert_same_run

pytestmark = pytest.mark.slow
DYING = ROOT / "tests" / "support" / "dying_train.py"
SETTINGS = ("train.save_every_steps=4", "model.drop_rate=0.1", "train.log_interval=2")
KILLS = 20


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=100, test=21))


def run(deadly_call, signal_name, *train_arguments):
    command = [sys.executable, DYING, str(deadly_call), signal_name, *map(str, train_arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=240, encoding="utf-8")


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    """Runs that nothing killed, and their number of calls, by pipeline."""
    made = {}

    def of(pipeline):
        if pipeline not in made:
            output = tmp_path_factory.mktemp("run") / pipeline
            done = run(0, "SIGKILL", *arguments(archive, output, *SETTINGS, f"data.pipeline={pipeline}"))
            assert done.returncode == 0, done.stderr
            made[pipeline] = output, int(re.search(r"calls: (\d+)", done.stdout)[1])
        return made[pipeline]

    return of


@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_runs_that_are_killed_at_random_moments_end_in_the_same_bits(pipeline, archive, whole, tmp_path):
    """Ten kills per pipeline, with 0, 2 and 4 workers in turn; a run that finishes is started again."""
    expected, calls = whole(pipeline)
    rng, output, kills, ends = random.Random(pipeline), tmp_path / "run", 0, 0
    while kills < KILLS // 2:
        workers = f"data.num_workers={(0, 2, 4)[kills % 3]}"
        auto = [*arguments(archive, output, *SETTINGS, f"data.pipeline={pipeline}", workers), "--resume", "auto"]
        done = run(rng.randint(1, calls), "SIGKILL", *auto)
        assert done.returncode in (-9, 0), done.stderr
        kills += done.returncode == -9
        if done.returncode == 0 or kills == KILLS // 2:
            done = run(0, "SIGKILL", *auto)
            assert done.returncode == 0, done.stderr
            assert_same_run(output, expected, bytes=True)
            shutil.rmtree(output)
            ends += 1
    assert ends


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_run_that_is_stopped_at_random_moments_ends_in_the_same_bits(signal_name, archive, whole, tmp_path):
    expected, calls = whole("host")
    rng, stops = random.Random(signal_name), 0
    settings = (*SETTINGS, "data.pipeline=host", "data.num_workers=2")
    auto = [*arguments(archive, tmp_path / "run", *settings), "--resume", "auto"]
    for _ in range(3):
        done = run(rng.randint(20, calls // 2), signal_name, *auto)
        assert done.returncode in (0, 130, 143), done.stderr
        assert "Traceback" not in done.stderr
        stops += done.returncode != 0
    assert stops
    assert run(0, "SIGKILL", *auto).returncode == 0
    assert_same_run(tmp_path / "run", expected, bytes=True)
