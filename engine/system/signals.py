"""Stopping a run by SIGINT, SIGTERM or SIGBREAK: the signal is noted, and the run stops after the current step."""

import contextlib
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import paddle

from common.notebook import in_notebook
from engine.errors import Stopped
from engine.system import processes

# Windows: Ctrl-C and Ctrl-Break. SIGTERM reaches no handler there; whoever sends it ends the process at once.
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if hasattr(signal, "SIGBREAK") else []))
TOGETHER = 2.0  # seconds within which signals count as one: a terminal signals both the launcher and its processes


class Stop:
    """A context in which a first signal is noted and a later second one ends the process immediately.

    Files are always whole, so an immediate end only costs the steps since the last checkpoint.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._when = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is not threading.main_thread():
            return self  # as a notebook's subshell: only the main thread may handle signals
        for signum in SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:  # as in the background of a script
                self._before[signum] = signal.signal(signum, self._on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signum is None:
            self.signum, self._when = signum, now
            with contextlib.suppress(OSError):  # whoever read it may have been killed
                os.write(2, b"\nStopping after this step and saving. Signal again to stop immediately.\n")
        elif now - self._when > TOGETHER:
            if in_notebook():
                raise KeyboardInterrupt  # which ends the cell; the kernel has more than this run
            os._exit(128 + signum)

    def check(self) -> None:
        """Raise `Stopped` in all processes if one has received a signal; all processes must call this together."""
        signum = self.signum or 0
        if processes.size() > 1:
            signum = int(processes.highest(paddle.to_tensor([signum])).item())
        if signum:
            raise Stopped(signum)
