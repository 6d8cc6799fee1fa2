"""Whether a person looks on."""

import sys


def has_progress_bar() -> bool:
    """Return whether output goes to a terminal. Otherwise plain lines take the place of progress bars."""
    return sys.stdout.isatty() and sys.stderr.isatty()
