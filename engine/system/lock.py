"""One run at a time in an output folder."""

import contextlib
import importlib
import os
import platform
from pathlib import Path
from typing import Any, TextIO

from common.windows import WINDOWS
from engine import filenames
from engine.errors import UserError

FAR = 1 << 20  # the byte that is locked on Windows: behind the owner's name, because no other process can read it


class Lock:
    """A context manager that reserves a folder for this process. The lock ends with the process, however it ends.

    Attributes:
        warning: a line for the log if the file system has no locks, else None.

    Raises:
        UserError: on entering: another live process holds the folder, or it is not writable.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.warning: str | None = None

    def __enter__(self) -> "Lock":
        try:
            self._stream = (self.folder / filenames.LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"output_dir: {self.folder} cannot be written ({error}): choose another", **self._fields()
            ) from error
        try:
            _lock(self._stream)
        except (BlockingIOError, PermissionError):
            self._stream.seek(0)
            owner = self._stream.read().strip() or "another process"
            self._stream.close()
            raise UserError(
                f"output_dir: {self.folder} is in use by {owner}: wait for it, or choose another folder with "
                "-o output_dir=NEW",
                **self._fields(),
            ) from None
        except OSError as error:  # some network file systems have no locks
            self.warning = f"{self.folder} cannot be locked ({error}): make sure that no second run writes there"
            return self
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the owner's name
            self._stream.truncate(0)
            self._stream.write(f"process {os.getpid()} on {platform.node()}\n")
            self._stream.flush()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()  # the file stays: another process may just have opened it to lock it

    def _fields(self) -> dict[str, Any]:
        return {"key": "output_dir", "value": str(self.folder), "place": self.folder}


def _lock(stream: TextIO) -> None:
    if WINDOWS:
        msvcrt: Any = importlib.import_module("msvcrt")
        stream.seek(0)
        os.lseek(stream.fileno(), FAR, os.SEEK_SET)  # `locking` begins at the descriptor's position
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(stream.fileno(), 0, os.SEEK_SET)
        return
    import fcntl

    # A POSIX lock: forked workers do not inherit it. They may outlive a killed run for a while.
    fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
