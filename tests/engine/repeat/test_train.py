"""The processes of seeds, with a script in the place of train.py that writes lines into a file and waits."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from engine.errors import Stopped
from engine.repeat import train
from engine.repeat.seeds import Seed
from engine.repeat.train import train_all
from engine.system import tuning
from tests.support.runs import MICRO, ROOT

# Named by its last override, output_dir; "wait" waits for the signal, "fail" fails, "die" is killed.
SCRIPT = """
import os, pathlib, signal, sys, time
folder = pathlib.Path([part for part in sys.argv if part.startswith("output_dir=")][0].partition("=")[2])
notes, how = folder.parent / "notes", folder.name.rstrip("0123456789")
def note(text):
    with notes.open("a") as stream:
        stream.write(f"{folder.name} {text}\\n")
def stopped(*_):
    note("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, stopped)
sys.stdout.buffer.write(b"caf\\xe9\\n[Train][Epoch 1/1] a step\\n")
shared = [os.environ.get(name) for name in ("PADDLE_LOCAL_SIZE", "OMP_NUM_THREADS")]
print("cores:", *shared, "--extend" in sys.argv, flush=True)
note("begins")
time.sleep(60 if how == "wait" else 0.5)
note("ends")
if how == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "fail":
    print("first of two", "the last line", sep="\\n", file=sys.stderr)
    sys.exit(2)
"""


@pytest.fixture
def seeds(tmp_path, monkeypatch):
    """A function that makes seeds whose processes do what their names say."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setattr(train, "SCRIPT", script)
    users = {name: value for name, value in tuning.user_environ().items() if name != "OMP_NUM_THREADS"}
    monkeypatch.setattr(tuning, "user_environ", lambda: dict(users))

    def make(*names):
        folders = [tmp_path / f"{name}{i}" for i, name in enumerate(names)]
        return [Seed(i, folder, MICRO, (f"output_dir={folder}",)) for i, folder in enumerate(folders)]

    return make


def notes(tmp_path):
    return (tmp_path / "notes").read_text(encoding="utf-8").splitlines()


def test_one_after_another_and_what_is_printed_goes_to_the_log_but_no_steps_to_the_terminal(seeds, tmp_path, capfd):
    assert train_all(seeds("a", "b"), 1, False) == {}
    assert notes(tmp_path) == ["a0 begins", "a0 ends", "b1 begins", "b1 ends"]
    out, err = capfd.readouterr()
    assert "seed 1: caf\ufffd" in out
    assert "a step" not in out
    assert err == ""
    assert (tmp_path / "a0.log").read_bytes().splitlines()[:2] == [b"caf\xe9", b"[Train][Epoch 1/1] a step"]


def test_several_at_a_time_share_the_cores(seeds, tmp_path):
    assert train_all(seeds("a", "b", "c"), 2, True) == {}
    running, most = 0, 0
    for note in notes(tmp_path):
        running += 1 if note.endswith("begins") else -1
        most = max(most, running)
    assert most == 2
    assert "cores: 2 None True" in (tmp_path / "a0.log").read_text(encoding="latin-1")


def test_one_seed_alone_has_all_cores(seeds, tmp_path):
    train_all(seeds("a"), 4, False)
    assert "cores: None None False" in (tmp_path / "a0.log").read_text(encoding="latin-1")


def test_the_others_go_on_when_a_seed_fails(seeds, tmp_path):
    failed = train_all(seeds("fail", "die", "c"), 1, False)
    assert failed[0][-3:-1] == ["first of two", "the last line"]
    assert "2" in failed[0][-1]
    assert "out of memory?" in failed[1][-1]
    assert list(failed) == [0, 1]
    assert notes(tmp_path)[-1] == "c2 ends"


def test_what_is_done_is_left_alone(seeds, tmp_path, monkeypatch):
    monkeypatch.setattr(Seed, "is_done", lambda seed: seed.number == 0)
    train_all(seeds("a", "b"), 1, False)
    assert notes(tmp_path) == ["b1 begins", "b1 ends"]


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_that_are_training_and_starts_no_other(seeds, tmp_path, signum):
    before = psutil.Process().children()  # multiprocessing's own, of other tests

    def send():
        wait_for(lambda: (tmp_path / "notes").exists() and len(notes(tmp_path)) == 2)
        os.kill(os.getpid(), signum)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Stopped) as stopped:
        train_all(seeds("wait", "wait", "c"), 2, False)
    sender.join()
    assert stopped.value.signum == signum
    assert sorted(notes(tmp_path)[2:]) == ["wait0 saved", "wait1 saved"]
    assert [child for child in psutil.Process().children() if child not in before] == []


PARENT = """
import sys
from pathlib import Path
from engine.repeat import train
from engine.repeat.seeds import Seed
train.SCRIPT = Path(sys.argv[1])
train.train_all([Seed(0, Path(sys.argv[2]), Path("c.yaml"), (f"output_dir={sys.argv[2]}",))], 1, False)
"""


@pytest.mark.slow
def test_a_process_stops_by_itself_when_the_one_that_started_it_is_killed(seeds, tmp_path):
    seeds()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT, tmp_path / "script.py", tmp_path / "wait0"]
    parent = subprocess.Popen(command, env=environ, cwd=tmp_path)
    wait_for(lambda: (tmp_path / "notes").exists())
    parent.kill()
    parent.wait()
    wait_for(lambda: notes(tmp_path) == ["wait0 begins", "wait0 saved"])
