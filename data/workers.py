"""Worker processes that make batches: Paddle's DataLoader, and one clear error when a worker cannot start or dies."""

import ctypes
import multiprocessing
import os
import signal
import threading
from multiprocessing import connection

import cv2
from paddle.io import DataLoader

from common import paddle_private

from .dataset import DataError

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


class WorkerLoader(DataLoader):
    """A DataLoader whose workers end with the run, leave signals to it, and whose death is a `DataError`.

    Raises:
        DataError: when iterated over: a worker could not be started, or died.
    """

    def __init__(self, dataset, batch_sampler, num_workers):
        super().__init__(
            dataset,
            batch_sampler=batch_sampler,
            num_workers=num_workers,
            # With shared memory a worker allocates through Paddle, whose locks may have been held at the fork: it hung.
            use_shared_memory=False,
            worker_init_fn=_start,
        )

    def __iter__(self):
        return self._watched() if self.num_workers else super().__iter__()

    def _watched(self):
        others = set(multiprocessing.active_children())
        try:
            batches = super().__iter__()
        except (OSError, SystemError) as error:
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            raise DataError(
                f"{self.num_workers} worker processes cannot be started ({error}): lower data.num_workers"
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
                        "out, or by an error of its own, shown above; lower data.num_workers or data.batch_size"
                    ) from error
                yield batch
        finally:
            for worker in paddle_private.workers(batches):
                worker.kill()


def check(num_workers):
    """Find out whether worker processes can be started here.

    Raises:
        DataError: semaphores cannot be made; on Linux they live in /dev/shm. Batches go through pipes and need none.
    """
    try:
        for _ in range(num_workers and 4 * num_workers + 4):
            multiprocessing.Lock()
    except OSError as error:
        raise DataError(
            f"data.num_workers: {num_workers}, but semaphores cannot be made ({error}): /dev/shm is full, too small or "
            "not writable; make room (docker run --shm-size=64m) or use data.num_workers=0"
        ) from error


def _watch(batches, workers):
    """Wake who waits for a batch when a worker dies; if it was writing one, Paddle would wait for the rest of it."""
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


def _start(worker):
    cv2.setNumThreads(0)  # the workers are the parallelism
    os.setpgrp()  # terminals and launchers signal a whole group; what that means is the run's to decide
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)  # not the run's own answer to them
    try:
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    except (OSError, AttributeError):
        pass  # not Linux: a worker looks for its parent every few seconds
