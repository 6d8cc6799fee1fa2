"""The parts of a benchmark and its report: each subject in a process of its own, medians with their range.

The measuring process asks the measured ones for one turn at a time. Two implementations take turns in the same
minutes, so that other load on the machine affects both. Neither shares memory, threads or flags with the other, and
a peak of memory belongs to one subject. `subjects` is the measured side, `torch_subject` that of another Python.
"""

import contextlib
import dataclasses
import datetime
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.words import counted
from engine.benchmark.process import Process
from engine.benchmark.subjects import RUNTIMES
from engine.benchmark.torch_process import TorchProcess, check_torch

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
    against_python: str | None = None,
    settings: str = "same",
    environ: Mapping[str, str] | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Measure this project, and optionally another implementation, with the model and data of a config.

    Args:
        parts: which of `PARTS`.
        steps: turns of each part after the warm-up.
        against: a Python file with `build(variant, num_classes)` and optionally `loss(logits, labels)`.
        against_python: the Python that runs `against`, whose model is torch's; None: this one, and it is Paddle's.
        settings: one of `SETTINGS`, for `against`; `flags` not in torch.
        environ: the user's environment variables, without those that this project or Paddle has added.
        say: takes each line for people as soon as it is known.

    Returns:
        {"date", "environment", "config", a key for each part, "against"}. A rate is {"images_per_second" (median),
        "min", "max"}. `save` has {"seconds" (median), "min", "max", "megabytes"}. `inference` has a rate for each of
        `RUNTIMES`, with its "ratio" to that of eager. "against" has the "environment" of the other implementation with
        the version of its library, and rates for `COMPARED` with the "ratio" of this project's to them.

    Raises:
        UserError: the config, the data, the device or the other implementation cannot be used.
    """
    from engine.config.load import flatten, load_config

    config = load_config(config_file, overrides)
    batch = config.data.batch_size
    report: dict[str, Any] = {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
    start = functools.partial(Process, str(config_file), environ=environ)
    other: Callable[[], Process] | None = None
    if against and against_python:
        environ = os.environ if environ is None else environ
        check_torch(against_python, environ)
        other = functools.partial(TorchProcess, config, str(against), against_python, settings, environ)
    elif against:
        other = functools.partial(start, overrides, file=str(against), settings=settings)
    with start(overrides) as ours:
        report["environment"] = ours.ask("start")
        report["config"] = flatten(config)
        _say_environment(report, steps, say)
        if set(parts) & set(COMPARED):
            with other() if other else contextlib.nullcontext() as theirs:
                if theirs:
                    found = theirs.ask("start", device=report["environment"]["device_name"])
                    report["against"] = {"file": str(against), "settings": settings, "environment": found}
                    _say_other(report, say)
                _compare(report, ours, theirs, parts, steps, say)
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
        if other:
            say(f"{part}: both warm up, which takes minutes where a model is compiled")
        entry, *others = _take_turns([ours, other] if other else [ours], part, steps, batch)
        report[part] = entry
        _say_rate(part, entry, say)
        for entry in others:
            # The ratio of medians of turns in the same minutes is the number least affected by a noisy machine.
            entry["ratio"] = report[part]["images_per_second"] / entry["images_per_second"]
            report["against"][part] = entry
            _say_rate(f"  {Path(report['against']['file']).name}", entry, say)
            say(f"  ratio          {entry['ratio']:10.2f} times its images/s")


def _take_turns(subjects: Sequence[Process], part: str, steps: int, batch: int) -> list[Entry]:
    """Warm all subjects up, let them take turns, and return an entry of the report for each."""
    warm_up = []
    for subject in subjects:
        begin = time.perf_counter()
        subject.ask("begin", part=part)
        warm_up.append(time.perf_counter() - begin)
    entries = []
    for subject, its_warm_up, its_seconds in zip(subjects, warm_up, _turns(subjects, steps), strict=True):
        entry = {**_rate(batch, its_seconds), "warm_up_seconds": its_warm_up}
        memory = subject.ask("peak_memory")  # before the profiler, which needs memory too
        if memory is not None:
            entry["peak_memory_mb"] = memory
        entries.append({**entry, **subject.ask("kept"), **subject.ask("count")})
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


def _say_other(report: dict[str, Any], say: Say) -> None:
    against, found = report["against"], report["against"]["environment"]
    library = f"torch {found['torch']}" if "torch" in found else f"Paddle {found['paddle']}"
    threads = f", {counted(found['threads'], 'thread')}" if "threads" in found else ""
    say(f"Against {against['file']}: {library}, Python {found['python']}{threads}, settings: {against['settings']}")


def _say_rate(name: str, entry: Entry, say: Say) -> None:
    line = f"{name:16} {entry['images_per_second']:10.2f} images/s ({entry['min']:.2f} to {entry['max']:.2f})"
    if "waiting_for_data" in entry:
        line += f", {entry['waiting_for_data']:.1%} of the time waiting for data"
    if "warm_up_seconds" in entry:
        line += f", warm-up {entry['warm_up_seconds']:.0f} s"
    if "peak_memory_mb" in entry:
        line += f", peak memory {entry['peak_memory_mb']:.0f} MB"
    if "kept_mb_per_picture" in entry:
        line += f", {entry['kept_mb_per_picture']:.1f} MB a picture kept for the backward pass"
    if "kept_mb_per_picture_on_a_gpu" in entry:
        line += f" (on a GPU {entry['kept_mb_per_picture_on_a_gpu']:.1f})"
    for key in (key for key in entry if key.endswith("_per_step")):
        line += f", {entry[key]} {key.removesuffix('_per_step')} per step"
    say(line + (f"; {entry['data']}" if "data" in entry else ""))
