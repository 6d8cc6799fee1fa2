"""What Windows does otherwise. It is known, as to Python's `subprocess`, by the module for Microsoft's C runtime."""

import os
import time
from pathlib import Path

try:
    import msvcrt  # noqa: F401

    WINDOWS = True
except ImportError:
    WINDOWS = False

PATIENCE = 10.0  # seconds that another program may keep a file open
PAUSE = 0.05


def move(source: str | Path, target: str | Path) -> None:
    """Rename a file, over an existing one, or a folder to a new name; atomic on one file system.

    Windows refuses while a program has the file, or one in the folder, open: virus scanners and indexers do so for a
    moment with each new file. There it is tried for `PATIENCE` seconds.

    Raises:
        OSError: the disk refused, or the file stayed open.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not WINDOWS or time.monotonic() > until:
                raise
        time.sleep(PAUSE)


def remedy(error: OSError) -> str:
    """Return what a user can do about a file that could not be written."""
    return "close the program that has it open" if WINDOWS and isinstance(error, PermissionError) else "free some space"
