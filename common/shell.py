"""Commands as a user types them, for the shell that is there: a POSIX shell, or on Windows PowerShell and cmd."""

import re
import shlex
from pathlib import Path

from common.windows import WINDOWS

PLAIN = re.compile(r"[\w.:/\\=+-]+")  # words that neither PowerShell nor cmd needs quoted


def command(*words: str | Path) -> str:
    """Return a command with its words quoted where that is needed.

    On Windows double quotes suit both shells, but in them PowerShell replaces `$` and backquotes, and ends at a curly
    double quote as well; words that have any are in single quotes, which only PowerShell knows. cmd replaces `%NAME%`
    whatever the quotes, if it has a variable of that name.
    """
    return " ".join(map(_for_windows if WINDOWS else shlex.quote, map(str, words)))


def set_up(project: str | Path) -> str:
    """Return what a user types to set up the environment of a project in that folder."""
    if WINDOWS:  # `cd` of cmd stays on its drive; nothing joins commands in PowerShell 5 and cmd alike
        return f"""`pushd {_for_windows(str(project))}`, `py -m venv .venv`, `.venv\\Scripts\\activate` and \
`pip install -r requirements/cpu.txt`"""
    return f"`cd {shlex.quote(str(project))} && make setup && . .venv/bin/activate`"


def _for_windows(word: str) -> str:
    if PLAIN.fullmatch(word):
        return word
    if re.search("[$`“”„]", word):
        return "'" + re.sub("(['‘’‚‛])", r"\1\1", word) + "'"  # PowerShell takes a curly one for a straight one
    return '"' + word + "\\" * (len(word) - len(word.rstrip("\\"))) + '"'  # \" would be no end, \\" is
