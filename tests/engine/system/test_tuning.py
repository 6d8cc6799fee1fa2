import os
import subprocess
import sys

import pytest

from engine.system import tuning
from tests.support.runs import ROOT

COUNT = "from engine.system import tuning; print(tuning.cpu_threads(), tuning.too_late() is not None)"


@pytest.mark.parametrize("first", ["import engine, paddle; ", "import zlib, paddle; "])
def test_paddle_before_the_project_does_not_look_like_a_users_choice_of_threads(first):
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "PYTHONPATH")}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-W", "ignore", "-c", first + COUNT]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert done.stdout.split()[0] == str(len(os.sched_getaffinity(0))), done.stderr


@pytest.mark.parametrize(
    ("first", "amd", "set_before", "says"),
    [(True, True, False, True), (False, True, False, False), (True, False, False, False), (True, True, True, False)],
)
def test_paddle_before_the_project_is_said_where_it_costs(monkeypatch, first, amd, set_before, says):
    monkeypatch.setattr(tuning, "_paddle_came_first", first)
    monkeypatch.setattr(tuning, "_is_amd", lambda: amd)
    monkeypatch.setattr(tuning, "_user_environ", {"MKL_DEBUG_CPU_TYPE": "5"} if set_before else {})
    assert (tuning.too_late() is not None) == says
