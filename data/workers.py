"""Worker processes that make batches: Paddle's DataLoader, with one clear error if a worker cannot start or dies."""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

import cv2
from paddle.io import BatchSampler, DataLoader, Dataset

from common import paddle_private

from .dataset import DataError

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


class WorkerLoader(DataLoader):
    """A DataLoader whose workers end with the run and leave signals to it; a dead worker is a `DataError`.

    Raises:
        DataError: on iteration: a worker could not be started, or died.
    """

    def __init__(self, dataset: Dataset, batch_sampler: BatchSampler, num_workers: int):
        super().__init__(
            dataset,
            batch_sampler=batch_sampler,
            num_workers=num_workers,
            # With shared memory a worker allocates through Paddle, and hangs if one of its locks was held at the fork.
            use_shared_memory=False,
            worker_init_fn=_start,
        )

    def __iter__(self) -> Iterator[Any]:
        return self._watched() if self.num_workers else super().__iter__()

    def _watched(self) -> Iterator[Any]:
        others = set(multiprocessing.active_children())
        try:
            batches = super().__iter__()
        except (OSError, SystemError) as error:
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            raise DataError(
                f"data.num_workers: {self.num_workers} worker processes cannot be started ({error}): lower it",
                key="data.num_workers",
                value=self.num_workers,
            ) from error
        # Paddle's handler would raise in the middle of a step; without it the next batch raises.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        threading.Thread(target=_watch, args=(batches, paddle_private.workers(batches)), daemon=True).start()
        try:
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                except SystemError as error:  # "Blocking queue is killed"
                    raise DataError(
                        "a worker process that makes batches died: killed from outside, most often because memory ran "
                        "out, or by an error of its own, shown above; lower data.num_workers or data.batch_size",
                        key="data.num_workers",
                        value=self.num_workers,
                    ) from error
                yield batch
        finally:
            for worker in paddle_private.workers(batches):
                worker.kill()
            paddle_private.forget_workers(batches)


def check(num_workers: int) -> None:
    """Check that worker processes can be started on this machine.

    Raises:
        DataError: semaphores cannot be created; Linux keeps them in /dev/shm. Batches go through pipes and need none.
    """
    try:
        for _ in range(num_workers and 4 * num_workers + 4):
            multiprocessing.Lock()
    except OSError as error:
        raise DataError(
            f"data.num_workers: {num_workers}, but semaphores cannot be created ({error}): /dev/shm is full, too small "
            "or not writable; make room (docker run --shm-size=64m) or use data.num_workers=0",
            key="data.num_workers",
            value=num_workers,
        ) from error


def _watch(batches: Any, workers: list[BaseProcess]) -> None:
    """Wake the reader of batches when a worker dies; Paddle would wait for the rest of a half-written batch."""
    while workers:
        sentinels = connection.wait([worker.sentinel for worker in workers])
        ended = [worker for worker in workers if worker.sentinel in sentinels]
        for worker in ended:
            worker.join()  # its exit code comes a moment later
        if any(worker.exitcode for worker in ended):
            for worker in workers:
                worker.kill()
            paddle_private.end_of_batches(batches)
            return
        workers = [worker for worker in workers if worker not in ended]


def _start(worker: int) -> None:
    cv2.setNumThreads(0)  # the workers are the parallelism
    os.setpgrp()  # terminals and launchers signal a whole group, but only the run decides how to react
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)  # not the run's own handlers
    try:
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    except (OSError, AttributeError):
        pass  # not Linux: a worker looks for its parent every few seconds
