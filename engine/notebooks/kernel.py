"""Settings of a notebook's kernel."""

import sys
from types import TracebackType
from typing import Any

from IPython import get_ipython

from common.errors import InputError
from engine.errors import Stopped
from engine.system import tuning


def set_up_kernel() -> None:
    """Let mistakes of a user and interrupted runs end a cell with one line; say if Paddle came too early."""
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((InputError, Stopped), _in_one_line)
    if line := tuning.too_late():
        print(line)


def _in_one_line(
    shell: Any, kind: type[Exception], error: Exception, traceback: TracebackType, tb_offset: int | None = None
) -> None:
    line = "run the cell again to continue" if isinstance(error, Stopped) else " ".join(str(error).split())
    print("stopped:" if isinstance(error, Stopped) else "error:", line, file=sys.stderr)
