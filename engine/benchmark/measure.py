"""Timing that can be compared: each subject in a process of its own, turn by turn, medians with their range.

The process that measures starts subjects and asks them for one turn at a time, a line of JSON each way. Two
implementations take turns in the same minutes, so what else the machine does falls on both; neither sees the other's
memory, threads or flags; and a peak of memory is one subject's. `subjects` is the side that is measured.
"""

import contextlib
import dataclasses
import datetime
import functools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.benchmark.subjects import RUNTIMES, short_name
from engine.errors import UserError
from engine.system.environment import PROJECT

BY_DEFAULT = ("forward", "train_step", "pipelines", "end_to_end", "save")
PARTS = (*BY_DEFAULT, "inference")
COMPARED = ("forward", "train_step")
SETTINGS = ("same", "flags", "threads", "stock")  # what another implementation is given; see `subjects.settle`
PAUSE = 0.3  # seconds between turns of two subjects: after its turn the threads of one keep spinning for 0.2


def measure(config_file, overrides, *, parts, steps, against=None, settings="same", environ=None, say=print):
    """Measure this project, and another implementation beside it, as a config says.

    Args:
        parts: which of `PARTS`.
        steps: turns of each part after the warm-up.
        against: a Python file with `build(variant, num_classes)` and, if it has one of its own, `loss(logits, labels)`.
        settings: one of `SETTINGS`, for `against`.
        environ: the user's environment variables as they were before this project or Paddle added theirs.
        say: is called with each line for people, as soon as it is known.

    Returns:
        {"date", "environment", "config", a key for each part, "against"}. A rate is {"images_per_second" (median),
        "min", "max"}; `save` has {"seconds" (median), "min", "max", "megabytes"}; `inference` has a rate for each of
        `RUNTIMES`, with its "ratio" to eager's.

    Raises:
        UserError: the config, the data, the device or the other implementation cannot be used.
    """
    from engine.config.load import flatten, load_config

    config = load_config(config_file, overrides)
    report = {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
    start = functools.partial(Process, str(config_file), environ=environ)
    with start(overrides) as ours:
        report["environment"] = ours.ask("start")
        report["config"] = flatten(config)
        _say_environment(report, steps, say)
        if set(parts) & set(COMPARED):
            other = against and start(overrides, file=str(against), settings=settings)
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
                report["pipelines"][name] = _measure_loading(
                    ours, "pipeline", f"pipeline {name}", config.data.batch_size, steps, say
                )
    if "end_to_end" in parts:
        with start(overrides) as ours:
            report["end_to_end"] = _measure_loading(
                ours, "end_to_end", "end_to_end", config.data.batch_size, steps, say
            )
    if "inference" in parts:
        report["inference"] = _measure_inference(start, overrides, config.data.batch_size, steps, say)
    return report


def pipelines():
    """Return the names of the data pipelines that a config may choose from."""
    from engine.config.options import DataConfig

    return next(item.metadata["choices"] for item in dataclasses.fields(DataConfig) if item.name == "pipeline")


def variants():
    """Return {short name: name of a model}: {"tiny": "regionvit_tiny_224", ...}."""
    from models import VARIANTS

    return {short_name(name): name for name in VARIANTS}


def _compare(report, ours, other, parts, steps, say):
    """Forward and training step, of both in turns if there are two."""
    batch = report["config"]["data.batch_size"]
    for part in (part for part in COMPARED if part in parts):
        entry, *others = _take_turns([ours, other] if other else [ours], part, steps, batch)
        report[part] = entry
        _say_rate(part, entry, say)
        for entry in others:
            # Medians of turns taken in the same minutes: what a noisy machine changes least.
            entry["ratio"] = report[part]["images_per_second"] / entry["images_per_second"]
            report["against"][part] = entry
            _say_rate(f"  {Path(report['against']['file']).name}", entry, say)
            settings = report["against"]["settings"]
            say(f"  ratio          {entry['ratio']:10.2f} times its images/s (settings: {settings})")


def _take_turns(subjects, part, steps, batch):
    """Warm every subject up, let them take turns, and return an entry of the report for each."""
    for subject in subjects:
        subject.ask("begin", part=part)
    entries = []
    for subject, its_seconds in zip(subjects, _turns(subjects, steps), strict=True):
        memory = subject.ask("peak_memory")  # before the profiler, which takes some too
        entries.append({**_rate(batch, its_seconds), "peak_memory_mb": memory, **subject.ask("count")})
    return entries


def _turns(subjects, steps):
    """Let subjects that have begun take turns; return the seconds of each one's."""
    seconds = [[] for _ in subjects]
    for _ in range(steps):
        for subject, its_seconds in zip(subjects, seconds, strict=True):
            if len(subjects) > 1:
                time.sleep(PAUSE)
            its_seconds.append(subject.ask("turn")["seconds"])
    return seconds


def _measure_inference(start, overrides, batch, steps, say):
    """The forward pass by this project's code, and as an export by what runs exports, in turns."""
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


def _measure_loading(subject, part, title, batch, steps, say):
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


def _measure_save(subject, steps, say):
    with tempfile.TemporaryDirectory() as folder:  # this side's, so that it goes away whatever happens to the subject
        subject.ask("begin", part="save", folder=folder)
        seconds = [subject.ask("turn")["seconds"] for _ in range(steps)]
        megabytes = sum(file.stat().st_size for file in Path(folder).glob("latest.*")) / 1e6
    entry = {"seconds": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "megabytes": megabytes}
    say(
        f"{'save':16} {entry['seconds']:10.3f} s        ({entry['min']:.3f} to {entry['max']:.3f}), "
        f"{megabytes:.1f} MB: a checkpoint to resume from"
    )
    return entry


def _rate(batch, seconds):
    rates = [batch / value for value in seconds]
    return {"images_per_second": statistics.median(rates), "min": min(rates), "max": max(rates)}


def _say_environment(report, steps, say):
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


def _say_rate(name, entry, say):
    line = f"{name:16} {entry['images_per_second']:10.2f} images/s ({entry['min']:.2f} to {entry['max']:.2f})"
    if "waiting_for_data" in entry:
        line += f", {entry['waiting_for_data']:.1%} of the time waiting for data"
    if "peak_memory_mb" in entry:
        line += f", peak memory {entry['peak_memory_mb']:.0f} MB"
    for key in (key for key in entry if key.endswith("_per_step")):
        line += f", {entry[key]} {key.removesuffix('_per_step')} a step"
    say(line + (f"; {entry['data']}" if "data" in entry else ""))


class Process:
    """A process with one subject in it; leaving the `with` ends it and whatever it has started."""

    def __init__(self, config_file, overrides, file=None, settings="ours", environ=None):
        self.name = f"--against {file}" if file else "the measured process"
        environ = dict(os.environ if environ is None else environ)
        self.spec = {"config": config_file, "overrides": overrides, "file": file, "settings": settings}
        self.spec["environ"] = sorted(environ)
        path = [str(PROJECT), *filter(None, [environ.get("PYTHONPATH")])]
        environ["PYTHONPATH"] = os.pathsep.join(path)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine.benchmark.subjects"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
            start_new_session=True,  # Ctrl-C reaches the side that measures alone, which then ends the whole group
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(OSError):  # a line that it died too early to read
            self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, action, **arguments):
        """Have it do one thing and return its answer.

        Raises:
            UserError: what went wrong there, in one line.
        """
        if action == "start":
            arguments = {**self.spec, **arguments}
        try:
            self.process.stdin.write(json.dumps({"action": action, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            status = self.process.wait()
            hint = ": out of memory? try a smaller --batch" if status == -signal.SIGKILL else ""
            raise UserError(f"{self.name}: ended with status {status} in {action!r}{hint}")
        answer = json.loads(line)
        if "error" in answer:
            raise UserError(f"{self.name}: {answer['error']}")
        return answer["answer"]
