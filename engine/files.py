"""Files that are at any instant the old one or the new one, whole."""

import os
from pathlib import Path


def replace(file, write):
    """Have `write(path)` make a file, which takes the place of `file` when it is on disk.

    Raises:
        OSError: what was there before stays.
    """
    file = Path(file)
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        write(temporary)
        sync(temporary)
        os.replace(temporary, file)
        sync(file.parent)
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(file, text):
    """Write a text file as `replace` does."""
    replace(file, lambda path: path.write_text(text, encoding="utf-8"))


def sync(path):
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
