"""The parts of a benchmark and its report: each subject in a process of its own, medians with their range.

The measuring process asks the measured ones for one turn at a time. Two implementations take turns in the same
minutes, so that other load on the machine affects both. Neither shares memory, threads or flags with the other, and
a peak of memory belongs to one subject. `subjects` is the measured side.
"""

import contextlib
import dataclasses
import datetime
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.benchmark.process import Process
from engine.benchmark.subjects import RUNTIMES

Say = Callable[[str], None]  # takes a line for people
Start = Callable[..., Process]  # takes overrides and keywords of Process
Entry = dict[str, Any]  # the numbers of one part in the report

BY_DEFAULT = ("forward", "train_step", "pipelines", "end_to_end", "save")
PARTS = (*BY_DEFAULT, "inference")
COMPARED = ("forward", "train_step")
SETTINGS = ("same", "flags", "threads", "stock")  # of another implementation; see `subjects.settle`
PAUSE = 0.3  # seconds between turns of two subjects: the threads of one keep spinning for 0.2 after its turn


def measure(
    config_file: str | Path,
    overrides: Sequence[str],
    *,
    parts: Collection[str],
    steps: int,
    against: str | Path | None = None,
    settings: str = "same",
    environ: Mapping[str, str] | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Measure this project, and optionally another implementation, with the model and data of a config.

    Args:
        parts: which of `PARTS`.
        steps: turns of each part after the warm-up.
        against: a Python file with `build(variant, num_classes)` and optionally `loss(logits, labels)`.
        settings: one of `SETTINGS`, for `against`.
        environ: the user's environment variables, without those that this project or Paddle has added.
        say: takes each line for people as soon as it is known.

    Returns:
        {"date", "environment", "config", a key for each part, "against"}. A rate is {"images_per_second" (median),
        "min", "max"}. `save` has {"seconds" (median), "min", "max", "megabytes"}. `inference` has a rate for each of
        `RUNTIMES`, with its "ratio" to that of eager.

    Raises:
        UserError: the config, the data, the device or the other implementation cannot be used.
    """
    from engine.config.load import flatten, load_config

    config = load_config(config_file, overrides)
    batch = config.data.batch_size
    report: dict[str, Any] = {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
    start = functools.partial(Process, str(config_file), environ=environ)
    with start(overrides) as ours:
        report["environment"] = ours.ask("start")
        report["config"] = flatten(config)
        _say_environment(report, steps, say)
        if set(parts) & set(COMPARED):
            other = start(overrides, file=str(against), settings=settings) if against else None
            with other or contextlib.nullcontext():
                if other:
                    report["against"] = {"file": str(against), "settings": settings}
                    other.ask("start", device=report["environment"]["device_name"])
                _compare(report, ours, other, parts, steps, say)
        if "save" in parts:
            report["save"] = _measure_save(ours, steps, say)
    if "pipelines" in parts:
        report["pipelines"] = {}
        for name in pipelines():
            with start([*overrides, f"data.pipeline={name}", "data.num_workers=0"]) as ours:
                report["pipelines"][name] = _measure_loading(ours, "pipeline", f"pipeline {name}", batch, steps, say)
    if "end_to_end" in parts:
        with start(overrides) as ours:
            report["end_to_end"] = _measure_loading(ours, "end_to_end", "end_to_end", batch, steps, say)
    if "inference" in parts:
        report["inference"] = _measure_inference(start, overrides, batch, steps, say)
    return report


def pipelines() -> tuple[str, ...]:
    """Return the names of the data pipelines that a config may choose from."""
    from engine.config.options import DataConfig

    return next(item.metadata["choices"] for item in dataclasses.fields(DataConfig) if item.name == "pipeline")


def variants() -> dict[str, str]:
    """Return the models by their short names: {"tiny": "regionvit_tiny_224", ...}."""
    from models import VARIANTS
    from models.names import short_name

    return {short_name(name): name for name in VARIANTS}


def _compare(
    report: dict[str, Any], ours: Process, other: Process | None, parts: Collection[str], steps: int, say: Say
) -> None:
    """Measure the forward pass and the training step, in turns if there are two implementations."""
    batch = report["config"]["data.batch_size"]
    for part in (part for part in COMPARED if part in parts):
        entry, *others = _take_turns([ours, other] if other else [ours], part, steps, batch)
        report[part] = entry
        _say_rate(part, entry, say)
        for entry in others:
            # The ratio of medians of turns in the same minutes is the number least affected by a noisy machine.
            entry["ratio"] = report[part]["images_per_second"] / entry["images_per_second"]
            report["against"][part] = entry
            _say_rate(f"  {Path(report['against']['file']).name}", entry, say)
            settings = report["against"]["settings"]
            say(f"  ratio          {entry['ratio']:10.2f} times its images/s (settings: {settings})")


def _take_turns(subjects: Sequence[Process], part: str, steps: int, batch: int) -> list[Entry]:
    """Warm all subjects up, let them take turns, and return an entry of the report for each."""
    for subject in subjects:
        subject.ask("begin", part=part)
    entries = []
    for subject, its_seconds in zip(subjects, _turns(subjects, steps), strict=True):
        memory = subject.ask("peak_memory")  # before the profiler, which needs memory too
        entries.append({**_rate(batch, its_seconds), "peak_memory_mb": memory, **subject.ask("count")})
    return entries


def _turns(subjects: Sequence[Process], steps: int) -> list[list[float]]:
    """Let subjects that have begun take turns; return the seconds of each subject's turns."""
    seconds: list[list[float]] = [[] for _ in subjects]
    for _ in range(steps):
        for subject, its_seconds in zip(subjects, seconds, strict=True):
            if len(subjects) > 1:
                time.sleep(PAUSE)
            its_seconds.append(subject.ask("turn")["seconds"])
    return seconds


def _measure_inference(start: Start, overrides: Sequence[str], batch: int, steps: int, say: Say) -> dict[str, Entry]:
    """Measure the forward pass of this project's code and of its exports, in turns."""
    from engine.inference.program import NAMES

    with contextlib.ExitStack() as stack:
        subjects = [stack.enter_context(start(overrides)) for _ in RUNTIMES]
        for subject, runtime in zip(subjects, RUNTIMES, strict=True):
            subject.ask("start")
            subject.ask("begin", part="inference", runtime=runtime)
        entries = {
            runtime: _rate(batch, seconds) for runtime, seconds in zip(RUNTIMES, _turns(subjects, steps), strict=True)
        }
    eager = entries["eager"]
    for runtime, entry in entries.items():
        entry["ratio"] = entry["images_per_second"] / eager["images_per_second"]
        _say_rate(NAMES.get(runtime, runtime), entry, say)
        say(f"  ratio          {entry['ratio']:10.2f} times eager's images/s")
    return entries


def _measure_loading(subject: Process, part: str, title: str, batch: int, steps: int, say: Say) -> Entry:
    subject.ask("start")
    data = subject.ask("begin", part=part)
    turns = [subject.ask("turn") for _ in range(steps)]
    entry = _rate(batch, [turn["seconds"] for turn in turns])
    if part == "end_to_end":
        entry["waiting_for_data"] = sum(turn["waited"] for turn in turns) / sum(turn["seconds"] for turn in turns)
        entry["peak_memory_mb"] = subject.ask("peak_memory")
    entry["data"] = data
    _say_rate(title, entry, say)
    return entry


def _measure_save(subject: Process, steps: int, say: Say) -> Entry:
    with tempfile.TemporaryDirectory() as folder:  # on this side, so that it is removed even if the subject dies
        subject.ask("begin", part="save", folder=folder)
        seconds = [subject.ask("turn")["seconds"] for _ in range(steps)]
        megabytes = sum(file.stat().st_size for file in Path(folder).glob("latest.*")) / 1e6
    entry = {"seconds": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "megabytes": megabytes}
    say(
        f"{'save':16} {entry['seconds']:10.3f} s        ({entry['min']:.3f} to {entry['max']:.3f}), "
        f"{megabytes:.1f} MB: a checkpoint to resume from"
    )
    return entry


def _rate(batch: int, seconds: Sequence[float]) -> Entry:
    rates = [batch / value for value in seconds]
    return {"images_per_second": statistics.median(rates), "min": min(rates), "max": max(rates)}


def _say_environment(report: dict[str, Any], steps: int, say: Say) -> None:
    found, config = report["environment"], report["config"]
    commit = (found["git_commit"] or "not known")[:12] + (" and changes" if found["git_uncommitted_changes"] else "")
    size = config["data.image_size"]
    say(f"Paddle {found['paddle']}, numpy {found['numpy']}, Python {found['python']}, commit {commit}")
    say(
        f"Device: {found['device']}"
        + ("" if found["device_name"] == "cpu" else f", on a {found['cpu']}")
        + f", computing in {found['computes_in']}"
    )
    say(
        f"{config['model.name']}, batch {config['data.batch_size']} of 3 x {size} x {size}; "
        f"median (min to max) of {steps} turns of {found['steps_a_turn']} step(s) after a warm-up"
    )


def _say_rate(name: str, entry: Entry, say: Say) -> None:
    line = f"{name:16} {entry['images_per_second']:10.2f} images/s ({entry['min']:.2f} to {entry['max']:.2f})"
    if "waiting_for_data" in entry:
        line += f", {entry['waiting_for_data']:.1%} of the time waiting for data"
    if "peak_memory_mb" in entry:
        line += f", peak memory {entry['peak_memory_mb']:.0f} MB"
    for key in (key for key in entry if key.endswith("_per_step")):
        line += f", {entry[key]} {key.removesuffix('_per_step')} per step"
    say(line + (f"; {entry['data']}" if "data" in entry else ""))
