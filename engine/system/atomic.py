"""Files that are at any instant the old one or the new one, whole; and their sizes and checksums."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from engine.errors import UserError


def replace(writers):
    """Make files that take the places of others when all of them are on disk.

    Args:
        writers: for each path a function that writes the file at the path it is given.

    Raises:
        OSError: what was there before stays.
    """
    temporaries = {file: file.with_name(f".{file.name}.tmp") for file in map(Path, writers)}
    try:
        for temporary, write in zip(temporaries.values(), writers.values(), strict=True):
            write(temporary)
            sync(temporary)
        for file, temporary in temporaries.items():
            os.replace(temporary, file)
            sync(file.parent)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def replace_text(file, text):
    """Write a text file as `replace` does; what cannot be UTF-8, as the name of an odd folder, as its escape."""
    replace({file: lambda path: path.write_text(text, encoding="utf-8", errors="backslashreplace")})


@contextlib.contextmanager
def writing_into(folder):
    """A context in which a script writes into the folder that `--output` names, made where missing.

    Raises:
        UserError: at once if nothing can be written there, or later if something cannot.
    """
    try:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        yield folder
    except OSError as error:
        raise UserError(f"--output {folder} cannot be written ({error}): choose another") from error


def sync(path):
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size(path):
    """Return a file's bytes, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def sha256sum(file):
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
