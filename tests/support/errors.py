"""Assertions about errors: their fields, and that they are one line."""

import contextlib

import pytest

from common.errors import InputError


@contextlib.contextmanager
def refuses(kind=InputError, **fields):
    """Expect an error of that kind with these fields (key, value, place), in one line."""
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    assert "\n" not in str(error)
    for name, expected in fields.items():
        expected = str(expected) if name == "place" else expected
        assert getattr(error, name) == expected, f"{name} of: {error}"


def one_line_about(err: str, *parts: object) -> None:
    """Expect what a script printed on stderr to be one line that names these parts (a key, a value, a path)."""
    assert err.count("\n") == 1, err
    assert err.startswith("error: ") or ": error: " in err, err
    for part in parts:
        assert str(part) in err, err
