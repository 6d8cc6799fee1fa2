"""Exceptions that end a script with one line and an exit status; see `engine.cli.run`."""

import signal

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
