"""Stopping a run by SIGINT or SIGTERM: asked for by a signal, done where the run is at a whole step."""

import os
import signal
import time

import paddle

from engine.errors import Stopped
from engine.system import processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TOGETHER = 2.0  # seconds; a launcher repeats its signal, and a terminal sends to it and to its processes


class Stop:
    """A context in which the first signal is noted, and another, later one ends the process at once.

    What is on disk is whole at any instant, so ending at once costs the steps since the last checkpoint, no more.
    """

    def __init__(self):
        self.signum, self._when, self._before = None, None, {}

    def __enter__(self):
        for signum in SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:  # a run in the background of a script
                self._before[signum] = signal.signal(signum, self._on_signal)
        return self

    def __exit__(self, *exception):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _on_signal(self, signum, frame):
        now = time.monotonic()
        if self.signum is None:
            self.signum, self._when = signum, now
            os.write(2, b"\nStopping after this step and saving; once more to stop at once.\n")
        elif now - self._when > TOGETHER:
            os._exit(128 + signum)

    def check(self):
        """Raise `Stopped` in all processes of the run if a signal has come to one; all have to call it together."""
        signum = self.signum or 0
        if processes.size() > 1:
            signum = int(processes.highest(paddle.to_tensor([signum])).item())
        if signum:
            raise Stopped(signum)
