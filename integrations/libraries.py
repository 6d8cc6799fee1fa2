"""The libraries that this room serves; an environment may lack them."""

import contextlib
import difflib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from paddle.io.dataloader import dataloader_iter
from PIL import Image

from engine.errors import UserError, in_short


def need(module: str) -> None:
    """Raise UserError if a library is not installed."""
    if not importlib.util.find_spec(module):
        raise UserError(
            f"this needs {module}: install requirements/integrations.txt, in an environment of its own, as "
            "docs/en/detection.md shows",
            key=module,
        )


def refuse_misspelled(keys: Iterable[str], known: Iterable[str], place: str | Path, anchors: bool = True) -> None:
    """Raise UserError for a key of a config that the library would ignore.

    Args:
        anchors: keys that resemble no known one may be there, as configs have values that others refer to.
    """
    known = list(known)
    for key in map(str, keys):
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.8 if anchors else 0.5)
        if key not in known and (close or not anchors):
            hint = f"did you mean {close[0]}?" if close else f"valid: {', '.join(known)}"
            raise UserError(f"{place}: nothing reads {key}: {hint}", key=key, place=place)


@contextlib.contextmanager
def reading(files: Callable[[], Iterable[str]]) -> Iterator[None]:
    """A context for a library's training: an error while a picture is read or changed ends it.

    Without workers Paddle reads in a thread, and the training would wait for a batch forever.

    Args:
        files: a function that returns the files of the data set.

    Raises:
        UserError: what went wrong, and with which file if that cannot be read.
    """
    kind, errors = dataloader_iter._DataLoaderIterSingleProcess, []
    loop = kind._thread_loop

    def reporting(loader: Any, *arguments: Any) -> None:
        try:
            loop(loader, *arguments)
        except Exception as error:
            errors.append(error)
            loader._exit_thread_unexpectedly()

    kind._thread_loop = reporting
    try:
        yield
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # in a backward pass Paddle wraps what Python raised
            raise KeyboardInterrupt from None
        if not errors:
            raise
        for file in files():
            size(file, whole=True)
        raise UserError(f"a picture, or what the data set says of it, cannot be used: {in_short(errors[0])}") from None
    finally:
        kind._thread_loop = loop


def size(file: str, whole: bool = False) -> tuple[int, int]:
    """Return width and height of a picture.

    Args:
        whole: read all of it, which finds damage.

    Raises:
        UserError: it is missing, or no picture, or damaged.
    """
    try:
        with Image.open(file) as image:
            if whole:
                image.load()
            return image.size
    except FileNotFoundError:
        raise UserError(f"{file}: no such file, but the data set lists it", place=file) from None
    except OSError as error:
        raise UserError(f"{file}: not a picture ({error})", place=file) from error
