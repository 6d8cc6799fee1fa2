import os
import signal
import subprocess
import sys
import time

import pytest

from engine.errors import Stopped
from engine.system import signals as stop_module
from engine.system.signals import Stop
from tests.support.runs import ROOT


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_noted_and_answered_where_the_run_asks(signum, status):
    before = signal.getsignal(signum)
    with Stop() as stop:
        stop.check()
        os.kill(os.getpid(), signum)
        with pytest.raises(Stopped) as stopped:
            stop.check()
        assert stopped.value.status == status
    assert signal.getsignal(signum) == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            stop.check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_signal_that_arrives_twice_is_one(monkeypatch):
    with Stop() as stop:
        for _ in range(3):  # as a launcher sends it
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            stop.check()


WAITING = """
import time
from engine import stop
stop.TOGETHER = 0.2
with stop.Stop():
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_later_second_signal_ends_the_process_at_once():
    assert stop_module.TOGETHER == 2
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", WAITING], cwd=ROOT, **pipes)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    assert b"once more to stop at once" in process.stderr.read()
