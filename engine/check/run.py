"""Making checks in a process that may crash, hang or lose its GPU without ending the others."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

from common.words import counted
from engine.check.check import Check
from engine.check.worker import FAILED, row, serve
from engine.errors import UserError

PATIENCE = 600.0  # seconds for a check, or for starting: each takes seconds on a GPU, and a hang has no other end
Say = Callable[[str], None]  # takes a line for people


def run(checks: Sequence[Check], device: str, say: Say = print, patience: float = PATIENCE) -> dict[str, Any]:
    """Make checks on a device, and say each outcome as soon as it is known.

    A check that fails ends its process, as an error may leave a GPU unusable to a process; the next one gets a new one.

    Args:
        device: as `select_device` takes it.
        patience: seconds after which a check has failed.

    Returns:
        {"device", "gpus", "environment", "checks": a row for each}.

    Raises:
        UserError: the device cannot be used.
    """
    report: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []

    def add(found: dict[str, Any]) -> None:
        rows.append(found)
        say(line(found))

    while not report or len(rows) < len(checks):
        left = checks[len(rows) :]
        with _worker(device, left) as (answers, process):
            about = _answer(answers, process, patience)
            if isinstance(about, str):
                about = {"error": f"device: {device}, but the process that checks {about}", "fields": {"key": "device"}}
            if "error" in about and not report:
                raise UserError(about["error"], **about["fields"])
            if "error" in about:  # what failed has taken the device with it
                add({**row(left[0]), "note": about["error"]})
                continue
            report = about
            for check in left:
                found = _answer(answers, process, patience)
                if isinstance(found, str):
                    found = {**row(check), "note": f"the process that checks {found}"}
                add(found)
                if found["result"] == FAILED:
                    break
    return {**report, "checks": rows}


def line(found: dict[str, Any]) -> str:
    """Return a check's outcome as a line for people."""
    text = "; ".join(filter(None, [found["figure"], found["note"]]))
    return f"{found['result']:8} {found['check']:20} {found['seconds']:6.1f} s  {text}"


@contextlib.contextmanager
def _worker(device: str, checks: Sequence[Check]) -> Iterator[tuple[Any, Any]]:
    """Start a process for checks; leaving the context ends it."""
    # A fresh interpreter: a GPU cannot be used in a process that was forked.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, device, checks))
    process.start()
    theirs.close()  # or its end would never be seen
    try:
        yield ours, process
    finally:
        if process.pid:
            _kill(process.pid)
        process.join()


def _kill(pid: int) -> None:
    """End a process and all that it has started: a check that hangs may wait for a run of its own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                one.kill()


def _answer(answers: Any, process: Any, patience: float) -> Any:
    """Return the worker's next answer, or as text how it ended without one."""
    try:
        if answers.poll(patience):
            return answers.recv()
    except (EOFError, OSError):
        process.join(10)
        return f"ended with status {process.exitcode}"
    return f"gave no answer for {counted(round(patience), 'second')}"
