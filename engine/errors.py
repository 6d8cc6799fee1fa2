"""The exceptions that the scripts answer for."""

import signal


class UserError(Exception):
    """Something the user can mend; the scripts print its message as one line and exit with status 2."""


class Stopped(Exception):
    """A run was asked to stop; the scripts exit with `status`, 128 + the signal's number, as shells count."""

    def __init__(self, signum):
        self.signal, self.signum, self.status = signal.Signals(signum).name, signum, 128 + signum
        super().__init__(f"stopped by {self.signal}")
