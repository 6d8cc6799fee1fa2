"""Paths as users write them."""

import os


def expand_user(path: str) -> str:
    """Return a path with a leading `~` or `~user` replaced by that home folder, as a shell does.

    Raises:
        ValueError: there is no such user.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        name = expanded.partition("/")[0]
        raise ValueError(f"a path (there is no user {name[1:]!r}; for a file named {name} write ./{path})")
    return expanded
