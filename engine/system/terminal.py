"""Terminal or file: where output goes."""

import sys


def has_progress_bar() -> bool:
    """Return whether output goes to a terminal; otherwise plain lines replace progress bars."""
    return sys.stdout.isatty() and sys.stderr.isatty()
