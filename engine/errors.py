"""Exceptions that end a script with one line and an exit status; see `engine.cli.run`."""

import signal
import traceback

from common.errors import InputError


class UserError(InputError):
    """A mistake that the user can fix."""


class Stopped(Exception):
    """A signal requested a stop.

    Attributes:
        signal: its name, as SIGTERM.
        status: the exit status, 128 + the signal's number, as shells report it.
    """

    def __init__(self, signum: int):
        self.signal, self.signum, self.status = signal.Signals(signum).name, signum, 128 + signum
        super().__init__(f"stopped by {self.signal}")


def in_short(error: BaseException, where: bool = False) -> str:
    """Return an exception as one line, without the traceback that Paddle puts into its messages.

    Args:
        where: with the exception's class, and the file and line that raised it, for errors that nobody expects.
    """
    text = " ".join(str(error).rpartition("Error Message Summary:")[2].strip("-\n ").split()) or type(error).__name__
    if not where:
        return text
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({frame.filename}, line {frame.lineno})"
