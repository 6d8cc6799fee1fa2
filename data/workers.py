"""Worker processes on every platform: a pipe to each, and no queue, lock or semaphore.

A pipe says when its other end is gone: a worker that dies is an error here, and a run that dies leaves no worker.
"""

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, process, util
from multiprocessing.connection import Connection
from typing import Any

import cv2

from . import pipes
from .dataset import DataError

METHOD = (
    "fork" if hasattr(os, "fork") and sys.platform != "darwin" else "spawn"
)  # macOS's own libraries do not survive a fork
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]


class Workers:
    """Processes that do jobs in turns; they end with this object.

    Args:
        work: a job -> its result. Forked workers inherit it; for others it is pickled, once for each.
        count: number of processes.

    Raises:
        DataError: they cannot be started, or (here and in `results`) one died.
    """

    def __init__(self, work: Callable[[Any], Any], count: int):
        self.processes: list[process.BaseProcess] = []
        self.pipes: list[Connection] = []
        util.Finalize(self, _kill, [self.processes], exitpriority=0)  # at exit, before multiprocessing waits for them
        context: Any = multiprocessing.get_context(METHOD)
        inherited = METHOD == "fork"
        try:
            for _ in range(count):
                ours, theirs = context.Pipe()
                util.register_after_fork(ours, Connection.close)  # a copy in a later worker would outlive the run
                self.pipes.append(ours)
                worker = context.Process(target=_serve, args=(theirs, work if inherited else None), daemon=True)
                with _nothing_collected():
                    worker.start()
                theirs.close()
                self.processes.append(worker)
        except OSError as error:
            self.end()
            raise DataError(
                f"data.num_workers: {count} worker processes cannot be started ({error}): lower it",
                key="data.num_workers",
                value=count,
            ) from error
        if not inherited:
            self._await()  # now that all of them are starting
            self._tell([work] * count)

    def results(self, jobs: Sequence) -> Iterator[Any]:
        """Hand out jobs, of n workers to worker i the jobs i, i + n, ...; return an iterator over their results.

        Each worker is one job ahead. Unless the iterator comes to its end, the workers can only be ended.
        """
        count = len(self.pipes)
        self._tell([jobs[worker::count] for worker in range(count)])
        return (self._hear(self.pipes[i % count]) for i in range(len(jobs)))

    def end(self) -> None:
        """End the processes, whatever they do."""
        _kill(self.processes)

    def _await(self) -> None:
        """Wait until each worker has its end of the pipe; before, Windows keeps a copy here, which hides its death."""
        with self._alive():
            for pipe, worker in zip(self.pipes, self.processes, strict=True):
                if pipe not in connection.wait([pipe, worker.sentinel]):
                    raise EOFError
                pipes.receive(pipe)

    def _tell(self, messages: Sequence) -> None:
        """Send each worker its message, for which it waits: if both sides were sending, neither would go on."""
        with self._alive():
            for pipe, message in zip(self.pipes, messages, strict=True):
                pipes.send(pipe, message)

    def _hear(self, pipe: Connection) -> Any:
        with self._alive():
            result = pipes.receive(pipe)
        if isinstance(result, Failure):
            raise result.error from RuntimeError(f"in a worker process:\n\n{result.trace}")
        return result

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise DataError(
                "a worker process that makes batches died: killed from outside, most often because memory ran out, or "
                "by an error of its own, shown above; lower data.num_workers or data.batch_size",
                key="data.num_workers",
                value=len(self.pipes),
            ) from error


@dataclass
class Failure:
    """What a worker sends in the place of a result: an error, and its traceback as text."""

    error: Exception
    trace: str


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """A context in which a process is forked, which then must never collect the garbage that it inherits.

    Paddle's loader has threads, which a fork does not copy: there, the end of a loader waits for them for ever.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _serve(pipe: Connection, work: Callable[[Any], Any] | None) -> None:
    """Do the jobs that the run hands out, for as long as it lives."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)  # terminals and launchers signal a whole group, but the run decides
    gc.freeze()  # what it inherits
    gc.enable()
    cv2.setNumThreads(0)  # the workers are the parallelism
    with contextlib.suppress(EOFError, OSError):  # the run has ended
        if not work:
            pipes.send(pipe, "ready")
            work = pipes.receive(pipe)
        while True:
            for job in pipes.receive(pipe):
                pipes.send(pipe, _attempt(work, job))


def _attempt(work: Callable[[Any], Any], job: Any) -> Any:
    try:
        return work(job)
    except Exception as error:
        trace = traceback.format_exc()
        try:
            return Failure(pickle.loads(pickle.dumps(error)), trace)
        except Exception:  # some errors cannot be sent
            return Failure(RuntimeError(repr(error)), trace)


def _kill(processes: list[process.BaseProcess]) -> None:
    for worker in processes:
        worker.kill()
    for worker in processes:
        worker.join()
