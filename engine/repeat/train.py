"""Training several seeds, each by train.py in a process of its own, one after another or several at a time."""

import collections
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from engine.repeat.seeds import Seed
from engine.system import children, tuning
from engine.system.environment import PROJECT
from engine.system.signals import Stop

SCRIPT = PROJECT / "train.py"
LAST = 5  # lines of a failed process that are shown
STEP = "[Train][Epoch"  # in the lines of single steps, which only the log keeps
PAUSE = 0.1  # seconds between two looks at the processes


class Training:
    """The process that trains one seed. What it prints goes into the seed's log, and all but its steps is shown.

    The process stops and saves its state when its standard input ends; see `engine.repeat.child`.
    """

    def __init__(self, seed: Seed, environ: dict[str, str], extending: bool):
        self.seed = seed
        self.last: collections.deque[str] = collections.deque(maxlen=LAST)
        overrides = [part for override in seed.overrides for part in ("-o", override)]
        script = [str(SCRIPT), "-c", str(seed.file), *overrides, "--resume", "auto", *["--extend"] * extending]
        self.process = children.start(
            [sys.executable, "-m", "engine.repeat.child", *script], environ, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """Let the process stop after its step and save; it may take a moment."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def wait(self) -> int:
        """Wait until the process has ended, with all that it has started, and return its status."""
        status = self.process.wait()
        self.stop()
        children.end(self.process)
        self._reader.join()
        return status

    def _read(self) -> None:
        printed: Any = self.process.stdout
        with contextlib.ExitStack() as stack:
            log = None
            with contextlib.suppress(OSError):  # a full disk must not block the process
                log = stack.enter_context(open(self.seed.log, "ab", buffering=0))
            for line in stack.enter_context(printed).buffer:  # bytes: not all need be UTF-8
                text = line.decode("utf-8", errors="replace").rstrip()
                if text:
                    self.last.append(text)
                with contextlib.suppress(OSError):
                    if log:
                        log.write(line)
                    if text and STEP not in text:
                        print(f"seed {self.seed.number}: {text}", flush=True)


def train_all(seeds: Sequence[Seed], processes: int, extending: bool) -> dict[int, list[str]]:
    """Train the seeds that are not done, at most `processes` at a time; return the last lines of those that failed.

    Raises:
        Stopped: a signal came; what was training is saved.
    """
    waiting = [seed for seed in seeds if not seed.is_done()]
    for seed in seeds:
        if seed not in waiting:
            print(f"seed {seed.number}: done already")
    environ = _environ(min(processes, len(waiting)))
    running: list[Training] = []
    failed: dict[int, list[str]] = {}
    with Stop() as stop:
        try:
            while waiting or running:
                while waiting and len(running) < processes:
                    running.append(Training(waiting.pop(0), environ, extending))
                stop.check()
                for training in [one for one in running if one.process.poll() is not None]:
                    running.remove(training)
                    if status := training.wait():
                        failed[training.seed.number] = [*training.last, *_about(status)]
                time.sleep(PAUSE)
        finally:
            for training in running:
                training.stop()
            for training in running:
                training.wait()
    return failed


def _about(status: int) -> list[str]:
    hint = ": out of memory? try fewer --processes or a smaller data.batch_size" if children.was_killed(status) else ""
    return [f"(ended with status {status}{hint})"]


def _environ(processes: int) -> dict[str, str]:
    """Return the variables of a process that shares the machine with others like it."""
    environ = tuning.user_environ()  # without what importing Paddle sets here
    environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, [environ.get("PYTHONPATH")])])
    environ["PYTHONUNBUFFERED"] = "1"
    environ["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    if processes > 1:
        environ["PADDLE_LOCAL_SIZE"] = str(processes)  # as the launcher does; see `tuning.cpu_threads`
    return environ
