"""Speed and memory of this project, measured by `engine.benchmark`, each setting in a process of its own."""

import functools
import os
import statistics
from typing import Any

from engine.benchmark.process import Process
from engine.check.check import CONFIG, Context

TF32 = "NVIDIA_TF32_OVERRIDE"  # "0": no library of NVIDIA's uses TF32; unset: as Paddle decides


def measured(context: Context, *parts: str, tf32: bool = True, **changes: Any) -> dict[str, float]:
    """Return pictures per second of parts of the benchmark, and the peak memory in MB.

    The same measurement is made once in a process: memory and speed ask for the same ones.

    Args:
        parts: `forward`, `train_step`, `end_to_end`.
        tf32: whether Paddle decides about TF32; otherwise it is not used.
        changes: as for `Context.overrides`.
    """
    overrides = tuple(text for text in context.overrides(**changes) if not text.startswith("output_dir="))
    return _measured(overrides, parts, tf32, context.sizes.batch, context.sizes.turns)


@functools.lru_cache
def _measured(
    overrides: tuple[str, ...], parts: tuple[str, ...], tf32: bool, batch: int, turns: int
) -> dict[str, float]:
    environ = {name: value for name, value in os.environ.items() if name != TF32}
    if not tf32:
        environ[TF32] = "0"
    found: dict[str, float] = {}
    with Process(str(CONFIG), overrides, environ=environ) as process:
        process.ask("start")
        for part in parts:
            process.ask("begin", part=part)
            seconds = [process.ask("turn")["seconds"] for _ in range(turns)]
            found[part] = batch / statistics.median(seconds)
        found["memory"] = process.ask("peak_memory")
    return found
