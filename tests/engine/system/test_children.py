import os
import sys
import time

import numpy as np
import psutil
import pytest

from engine.system import children

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("windows", [False, True])
def test_a_process_is_ended_with_what_it_has_started(monkeypatch, windows):
    process = children.start([sys.executable, "-c", PARENT], os.environ)
    child = psutil.Process(int(process.stdout.readline()))
    monkeypatch.setattr(children, "WINDOWS", windows)
    children.end(process)
    process.stdin.close()
    process.stdout.close()
    until = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.01)
    children.end(process)  # twice does no harm


def test_the_peak_of_memory_is_that_of_this_process(monkeypatch):
    now = psutil.Process().memory_info().rss / 1e6
    assert 0.5 * now < children.peak_memory() < 10 * now + 1000
    monkeypatch.setattr(children.sys, "platform", "darwin")  # counts bytes
    in_bytes = children.peak_memory()
    monkeypatch.setattr(children.sys, "platform", "linux")
    assert children.peak_memory() / in_bytes == pytest.approx(1000, rel=0.1)  # it may grow meanwhile


def test_the_peak_of_memory_is_not_that_of_the_process_that_started_this_one():
    needed = psutil.Process().memory_info().rss / 1e6
    held = np.ones(int((needed + 300) * 1e6 // 8))
    code = "from engine.system import children; print(children.peak_memory())"
    process = children.start([sys.executable, "-c", code], os.environ)
    assert float(process.stdout.readline()) < held.nbytes / 1e6
    children.end(process)
    process.stdin.close()
    process.stdout.close()
