"""Starting `short_run.py`, alone or in several processes, with an end to waiting."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.system.environment import PROJECT

SCRIPT = Path(__file__).with_name("short_run.py")
PATIENCE = 180.0  # seconds; less than the patience of `engine.check.run`, which could not end these processes


class ChildError(Exception):
    """A process did not do what it should; one line."""


def start(*arguments: object, launcher: Sequence[object] = ()) -> subprocess.Popen:
    """Start a short run; `launcher` are arguments of `python -m paddle.distributed.launch`."""
    launch = ["-m", "paddle.distributed.launch", *launcher] if launcher else []
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, *map(str, [*launch, SCRIPT, *arguments])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONPATH": path},
    )


def end(process: subprocess.Popen) -> tuple[int, list[str]]:
    """Wait for a process and return its status and the lines that it printed.

    Raises:
        ChildError: it takes too long.
    """
    try:
        printed, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.terminate()  # a launcher ends its processes
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
        raise ChildError(f"a run had not ended after {PATIENCE:.0f} s") from None
    return process.returncode, printed.splitlines()


def result(process: subprocess.Popen) -> dict[str, Any]:
    """Wait for a run that should succeed; return its JSON.

    Raises:
        ChildError: it failed, or takes too long.
    """
    status, lines = end(process)
    found = next((line for line in reversed(lines) if line.startswith("{")), None)
    if status or not found:
        last = next((line for line in reversed(lines) if line.strip()), "no output")
        raise ChildError(f"a run ended with status {status}: {last.strip()}")
    return json.loads(found)
