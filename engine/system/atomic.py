"""Writing files atomically, so that a file is always whole: the old one or the new one. Sizes and checksums."""

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from common.windows import WINDOWS, move
from engine.errors import UserError


def replace(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write files under temporary names and rename them into place once all are on disk.

    Args:
        writers: by final path, a function that writes the file at the path it gets.

    Raises:
        OSError: the disk refused; the old files stay.
    """
    temporaries = {file: file.with_name(f".{file.name}.tmp") for file in map(Path, writers)}
    try:
        for temporary, write in zip(temporaries.values(), writers.values(), strict=True):
            write(temporary)
            sync(temporary)
        for file, temporary in temporaries.items():
            move(temporary, file)
            sync(file.parent)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def replace_contents(contents: Mapping[Path, str | bytes]) -> None:
    """Write texts and bytes as `replace` does; texts are the same bytes on every system.

    What UTF-8 lacks, as the name of a folder may have it, is escaped.
    """
    replace({file: partial(_write, content) for file, content in contents.items()})


def _write(content: str | bytes, path: Path) -> None:
    path.write_bytes(content.encode("utf-8", errors="backslashreplace") if isinstance(content, str) else content)


def replace_text(file: Path, text: str) -> None:
    """Write one text as `replace_contents` does."""
    replace_contents({file: text})


@contextlib.contextmanager
def writing_into(folder: str | Path) -> Iterator[Path]:
    """A context for a script that writes into the folder given by `--output`; the folder is created if missing.

    Raises:
        UserError: on entering if the folder is not writable, later if a write fails.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        yield folder
    except OSError as error:
        raise UserError(
            f"--output {folder} cannot be written ({error}): choose another",
            key="--output",
            value=str(folder),
            place=folder,
        ) from error


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on disk.

    Windows opens no folders: there nothing promises that a new name outlives a power failure.
    """
    folder = path.is_dir()
    if folder and WINDOWS:
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows syncs only what may be written
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):  # a disk that cannot
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync leaves the data in the drive's cache there
            return
    os.fsync(descriptor)


def size(path: Path) -> int:
    """Return a file's size in bytes, 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def sha256sum(file: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
