"""Terminal, notebook or file: where output goes."""

import errno
import sys

from common.notebook import HAS_WIDGETS
from common.windows import WINDOWS


def has_progress_bar() -> bool:
    """Return whether output goes to a terminal or a notebook; otherwise plain lines replace progress bars."""
    return HAS_WIDGETS or (sys.stdout.isatty() and sys.stderr.isatty())


def reader_is_gone(error: OSError) -> bool:
    """Return whether a write failed because nobody reads the pipe any longer, as after `| head`."""
    return isinstance(error, BrokenPipeError) or (WINDOWS and error.errno == errno.EINVAL)  # cpython issue 79935
