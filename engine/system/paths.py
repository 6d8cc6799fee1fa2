"""Paths as users write them, and as files keep them."""

import os
import re

from common.windows import WINDOWS


def expand_user(path: str) -> str:
    """Return a path with a leading `~` or `~user` replaced by that home folder, as a shell does.

    Raises:
        ValueError: there is no such user.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        name = re.split(r"[/\\]" if WINDOWS else "/", expanded)[0]
        raise ValueError(f"a path (there is no user {name[1:]!r}; for a file named {name} write ./{path})")
    return portable(expanded)


def portable(path: str) -> str:
    r"""Return a path with the separators that every system reads: on Windows / for \.

    So a run's config means the same where the run is continued. What Windows takes literally, `\\?\...`, is kept.
    """
    return path.replace("\\", "/") if WINDOWS and not path.startswith("\\\\?\\") else path
