"""Processes that this one starts and ends, and how much memory a process took."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from common.windows import WINDOWS


def start(command: list[str], environ: Mapping[str, str], stderr: int | None = None) -> subprocess.Popen[str]:
    """Start a process that is asked and answers in lines of UTF-8, and that Ctrl-C in the terminal does not reach.

    `stderr` is as in `subprocess.Popen`; by default it is that of this process.
    """
    alone: dict[str, Any] = {"start_new_session": True}
    if WINDOWS:
        alone = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP")}  # noqa: B009 - mypy is not on Windows
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, encoding="utf-8", env=environ, **alone
    )


def end(process: subprocess.Popen) -> None:
    """End a process from `start` at once, with all that it has started, and wait for it.

    On Windows, and there alone, what it has started lives on if the process itself has ended before.
    """
    if WINDOWS:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    child.kill()
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def was_killed(status: int) -> bool:
    """Return whether an exit status is that of a process killed from outside, as where memory runs out."""
    return not WINDOWS and status == -signal.SIGKILL


def peak_memory() -> float:
    """Return the most memory that this process has had so far, in MB.

    On Linux getrusage would count what the process that started this one has had: findings/peak_of_both.sh.
    """
    try:
        import resource
    except ImportError:  # Windows
        return psutil.Process().memory_info().peak_wset / 1e6
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3  # kilobytes
