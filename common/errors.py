"""The base of all errors that a user can fix."""

import copyreg
from typing import Any


class InputError(Exception):
    """Bad input: one line for the user, and as fields what a program can check.

    Attributes:
        key: the option, argument or name that is wrong (`data.side`, `--weights`), or None.
        value: its value, or None.
        place: the file or folder where the mistake is, or None.
    """

    def __init__(self, message: str, *, key: str | None = None, value: object = None, place: object = None):
        super().__init__(message)
        self.key, self.value, self.place = key, value, None if place is None else str(place)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let worker processes send it: pickle would call __init__, which may take something else than the message."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]
