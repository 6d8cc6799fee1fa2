"""One thread that computes what several requests wait for, as one batch."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

Run = Callable[[list[Any]], Sequence[Any]]  # the inputs of a batch -> an answer for each


class Waiting(NamedTuple):
    """An input, when it came, and where its answer goes."""

    input: Any
    since: float
    answer: Future


class Batcher(threading.Thread):
    """Answer inputs in the order in which they come, in batches of those that wait at the same time.

    Args:
        run: called in this thread alone.
        largest: the most inputs in a batch.
        longest_wait: for how many seconds an input waits for others, if its batch has room.
    """

    def __init__(self, run: Run, largest: int, longest_wait: float):
        super().__init__(name="batcher", daemon=True)
        self.compute, self.largest, self.longest_wait = run, largest, longest_wait
        self.waiting: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self.inputs = self.batches = 0  # computed so far

    def submit(self, x: Any) -> Future:
        """Return the answer to come. Whoever no longer wants it cancels it, and it is not computed."""
        waiting = Waiting(x, time.monotonic(), Future())
        self.waiting.put(waiting)
        return waiting.answer

    def run(self) -> None:
        while True:
            # What is not canceled here no longer can be.
            batch = [waiting for waiting in self.collect() if waiting.answer.set_running_or_notify_cancel()]
            if batch:
                self.answer(batch)

    def collect(self) -> list[Waiting]:
        """Return the next batch."""
        batch = [self.waiting.get()]
        end = batch[0].since + self.longest_wait
        while sum(not waiting.answer.cancelled() for waiting in batch) < self.largest:
            try:
                batch.append(self.waiting.get(timeout=max(0, end - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def answer(self, batch: list[Waiting]) -> None:
        self.inputs, self.batches = self.inputs + len(batch), self.batches + 1
        try:
            answers = self.compute([waiting.input for waiting in batch])
        except Exception as error:  # is theirs who wait, and the thread goes on
            for waiting in batch:
                waiting.answer.set_exception(error)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.answer.set_result(answer)
