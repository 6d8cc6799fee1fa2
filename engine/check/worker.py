"""The process that makes the checks, one after the other. It may crash or hang: `engine.check.run` starts another."""

import os
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from common.errors import InputError
from engine.check.check import ON_A_CPU, ON_A_GPU, Check, Context, Skip
from engine.errors import in_short

PASSED, FAILED, SKIPPED = "passed", "FAILED", "SKIPPED"


def serve(answers: Connection, wanted: str, checks: Sequence[Check]) -> None:
    """Select the device and send what is known about it, or the line of an error; then send each check's outcome."""
    os.dup2(2, 1)  # what Paddle and the checks print must not get between the lines of the report
    try:
        about = describe(wanted)
    except InputError as error:
        answers.send({"error": str(error), "fields": {"key": error.key, "value": error.value, "place": error.place}})
        return
    answers.send(about)
    for check in checks:
        answers.send(outcome(check, about["device"], about["gpus"]))


def describe(wanted: str) -> dict[str, Any]:
    """Select a device and return it with the environment.

    Raises:
        UserError: Paddle cannot use it.
    """
    import paddle

    from engine.system.device import select_device
    from engine.system.environment import environment

    device = select_device(wanted)
    gpus = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    return {"device": device, "gpus": gpus, "environment": environment(device)}


def outcome(check: Check, device: str, gpus: int) -> dict[str, Any]:
    """Make a check and return a row of the report; an exception of any kind is its failure."""
    from engine.system import tf32  # imports paddle

    begin = time.perf_counter()
    sizes = ON_A_CPU if device == "cpu" else ON_A_GPU
    try:
        lacking = _lacking(check, device, gpus)
        if lacking:
            raise Skip(lacking)
        # TF32 would hide what the bounds are for; processes that a check starts have the settings that it gives them.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, tf32.never():
            result = check.run(Context(device, Path(folder), sizes, gpus))
        told = {"figure": result.figure, "note": result.note, "worst": result.worst, "numbers": dict(result.numbers)}
        answer = {"result": PASSED if check.holds(result) else FAILED, **told}
    except Skip as reason:
        answer = {"result": SKIPPED, "note": in_short(reason)}
    except InputError as error:
        answer = {"result": FAILED, "note": in_short(error)}
    except (Exception, SystemExit) as error:
        answer = {"result": FAILED, "note": in_short(error, where=True)}
    return {**row(check), **answer, "seconds": time.perf_counter() - begin}


def row(check: Check) -> dict[str, Any]:
    """Return a row of the report for a check of which nothing is known yet."""
    about = {"check": check.name, "claim": check.claim, "bound": check.bound}
    return {**about, "result": FAILED, "figure": "", "note": "", "worst": None, "numbers": {}, "seconds": 0.0}


def _lacking(check: Check, device: str, gpus: int) -> str:
    """Return why a check cannot be made on a device, "" if it can."""
    have = 0 if device == "cpu" else gpus
    if check.gpus <= have:
        return ""
    needed = "a GPU" if check.gpus == 1 else f"{check.gpus} GPUs"
    return f"needs {needed}: " + ("this is a CPU" if device == "cpu" else f"this machine has {have}")
