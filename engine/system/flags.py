"""Paddle's flags by their names without `FLAGS_`, of which every version and build has others."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import paddle

PREFIX = "FLAGS_"


def values(*names: str) -> dict[str, Any]:
    """Return the values of flags; those that this Paddle lacks are left out."""
    found = {}
    for name in names:
        with contextlib.suppress(ValueError):  # no such flag
            found[name] = paddle.get_flags(PREFIX + name)[PREFIX + name]
    return found


def set_known(wanted: Mapping[str, Any]) -> None:
    """Set flags; those that this Paddle lacks are left out."""
    paddle.set_flags({PREFIX + name: wanted[name] for name in values(*wanted)})


@contextlib.contextmanager
def flags(**wanted: Any) -> Iterator[None]:
    """A context in which flags have other values; those that this Paddle lacks are left out."""
    before = values(*wanted)
    set_known(wanted)
    try:
        yield
    finally:
        set_known(before)
