"""A script that stops, as by a signal, when its standard input ends: `python -m engine.repeat.child SCRIPT ...`.

That pipe ends when the process that holds its other end closes it, and also when that process is killed. So one way
stops a run on every system, and no run outlives the process that started it by more than a step.
"""

import os
import runpy
import signal
import sys
import threading

from common.windows import WINDOWS


def stop_with_standard_input() -> None:
    """Wait until standard input ends, then send this process the signal that a run saves its state on."""
    while os.read(0, 4096):  # not sys.stdin, whose lock would be held when Python ends
        pass
    if WINDOWS:
        signal.raise_signal(signal.SIGINT)  # SIGTERM would reach no handler there
    else:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=stop_with_standard_input, daemon=True).start()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
