import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from engine.errors import Stopped
from engine.system import signals
from engine.system.signals import TOGETHER, Stop
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


def test_one_signal_that_arrives_twice_is_one():
    with Stop() as stop:
        for _ in range(3):  # as a launcher sends it
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            stop.check()


def test_a_later_second_signal_ends_the_process_at_once(monkeypatch, capfd):
    assert TOGETHER == 2
    now, statuses = [100.0], []
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(signals.os, "_exit", statuses.append)
    with Stop():
        for seconds in (0.0, 1.9, 2.1):
            now[0] = 100 + seconds
            assert statuses == []
            os.kill(os.getpid(), signal.SIGTERM)
    assert statuses == [143]
    assert capfd.readouterr().err.count("Signal again to stop immediately") == 1


def test_a_later_second_signal_in_a_notebook_ends_the_cell_and_not_the_kernel(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(signals, "in_notebook", lambda: True)
    monkeypatch.setattr(signals.os, "_exit", lambda status: pytest.fail(f"ended with {status}"))
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 2.1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            stop.check()


def test_a_run_outside_the_main_thread_leaves_signals_alone():
    """As in a subshell of a notebook: Python refuses handlers there."""
    before, checked = signal.getsignal(signal.SIGINT), []

    def work():
        with Stop() as stop:
            checked.append(signal.getsignal(signal.SIGINT))
            stop.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert checked == [before]


def test_a_signal_is_noted_though_nobody_reads_the_line_about_it(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    write = os.write
    monkeypatch.setattr(signals.os, "write", lambda _, text: write(writer, text))
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            stop.check()
    os.close(writer)


WAITING = """
import time
from engine.system import signals
signals.TOGETHER = 0.2
with signals.Stop():
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_later_second_signal_ends_a_real_process():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", WAITING], cwd=ROOT, **pipes)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    assert b"Signal again to stop immediately" in process.stderr.read()
