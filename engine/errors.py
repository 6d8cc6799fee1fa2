"""The exceptions that the scripts turn into one line and an exit status; see `engine.cli.run`."""

import signal

from common.errors import InputError


class UserError(InputError):
    """A mistake that the user can fix."""


class Stopped(Exception):
    """A signal asked the run to stop. `status` is the exit status: 128 + the signal's number, as shells count."""

    def __init__(self, signum: int):
        self.signal, self.signum, self.status = signal.Signals(signum).name, signum, 128 + signum
        super().__init__(f"stopped by {self.signal}")
