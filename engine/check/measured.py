"""Speed and memory of this project, measured by `engine.benchmark`, each setting in a process of its own."""

import functools
import statistics
from typing import Any

from engine.benchmark.process import Process
from engine.check.check import CONFIG, Context
from engine.system.tuning import user_environ


def measured(context: Context, *parts: str, **changes: Any) -> dict[str, float]:
    """Return pictures per second of parts of the benchmark, and the peak memory in MB.

    Each measurement is made once in a process: memory and speed ask for the same ones.

    Args:
        parts: `forward`, `train_step`, `end_to_end`.
        changes: as for `Context.overrides`.
    """
    overrides = sorted(text for text in context.overrides(**changes) if not text.startswith("output_dir="))
    return _measured(tuple(overrides), parts, context.sizes.batch, context.sizes.turns)


@functools.lru_cache
def _measured(overrides: tuple[str, ...], parts: tuple[str, ...], batch: int, turns: int) -> dict[str, float]:
    found: dict[str, float] = {}
    with Process(str(CONFIG), overrides, environ=user_environ()) as process:
        process.ask("start")
        for part in parts:
            process.ask("begin", part=part)
            seconds = [process.ask("turn")["seconds"] for _ in range(turns)]
            found[part] = batch / statistics.median(seconds)
        found["memory"] = process.ask("peak_memory")
    return found
