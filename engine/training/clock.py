"""The time that training steps take, how much of it they wait for data, and how long a run will take."""

import time
from typing import NamedTuple


class Cost(NamedTuple):
    """Means since the last restart: seconds per step, seconds per step spent waiting for data, pictures per second."""

    batch: float
    reader: float
    ips: float


class Clock:
    """Measures training steps between two log points."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.begin = self.last = time.perf_counter()
        self.waited, self.steps, self.images = 0.0, 0, 0

    def batch_is_here(self) -> None:
        self.waited += time.perf_counter() - self.last

    def step_is_done(self, images: int) -> None:
        self.steps, self.images, self.last = self.steps + 1, self.images + images, time.perf_counter()

    def read(self) -> Cost:
        """Return the means. Read back from the device first, or work that is still queued there is not counted."""
        elapsed = time.perf_counter() - self.begin
        return Cost(elapsed / self.steps, self.waited / self.steps, self.images / elapsed)


class FirstSteps:
    """Measures the pace of a run once, in its first steps in this process.

    The first step is left out: it also sets things up. Read back from the device before each call, or work that is
    still queued there is not counted.
    """

    COUNT = 3

    def __init__(self) -> None:
        self.ends: list[float] = []

    def are_going_on(self) -> bool:
        return len(self.ends) < self.COUNT

    def step_is_done(self) -> None:
        self.ends.append(time.perf_counter())

    def pace(self) -> float:
        """Return the seconds per step."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)
