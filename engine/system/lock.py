"""One run at a time in an output folder."""

import contextlib
import os
import platform
from pathlib import Path

from engine import filenames
from engine.errors import UserError


class Lock:
    """Holds a folder for this process; a context manager. The lock goes with the process, however that ends.

    `warning`: what to tell where the file system has no locks, else None.

    Raises:
        UserError: when entered: another living process has the folder, or it cannot be written.
    """

    def __init__(self, folder):
        self.folder, self.warning = Path(folder), None

    def __enter__(self):
        try:
            self._stream = (self.folder / filenames.LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            raise UserError(f"output_dir: {self.folder} cannot be written ({error}): choose another") from error
        try:
            _lock(self._stream)
        except (BlockingIOError, PermissionError):
            self._stream.seek(0)
            owner = self._stream.read().strip() or "another process"
            self._stream.close()
            raise UserError(
                f"output_dir: {self.folder} is in use by {owner}: wait for it, or choose another with -o output_dir=NEW"
            ) from None
        except OSError as error:  # some network file systems have no locks
            self.warning = f"{self.folder} cannot be locked ({error}): see to it that no second run writes there"
            return self
        with contextlib.suppress(OSError):  # a full disk; the lock holds without a name in it
            self._stream.truncate(0)
            self._stream.write(f"process {os.getpid()} on {platform.node()}\n")
            self._stream.flush()
        return self

    def __exit__(self, *exception):
        with contextlib.suppress(OSError):
            self._stream.close()  # the file stays: removing it could take the lock from one who has just opened it


def _lock(stream):
    try:
        import fcntl
    except ImportError:  # Windows
        return
    # A POSIX lock: forked workers, which may outlive a killed run for a while, do not inherit it.
    fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
