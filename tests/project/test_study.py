"""What docs/en/study.md says its code prints is what it prints; the Chinese page has the same (`test_docs.py`)."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.support.models import without_random_values
from tests.support.scripts import tool

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/en/study.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Shapes, with numbers$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
PIECE = re.compile(r"```(python|bash)\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def pieces(language):
    return [(code, output) for kind, code, output in PIECE.findall(SECTION) if kind == language]


@pytest.fixture(scope="module")
def printed():
    """What each piece of code prints, run one after another."""
    names, found = {}, []
    for code, _ in pieces("python"):
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            exec(code, names)
        found.append(stream.getvalue())
    return found


@pytest.mark.parametrize("number", range(len(pieces("python"))))
def test_code_prints_what_the_page_says(printed, number):
    assert printed[number] == pieces("python")[number][1]


def test_every_piece_of_code_has_its_output():
    assert SECTION.count("```python") == len(pieces("python")) > 5


def test_commands_print_what_the_page_says(monkeypatch, capsys):
    ((command, output),) = pieces("bash")
    monkeypatch.chdir(ROOT)
    _, script, *arguments = command.split()
    with without_random_values():
        tool(monkeypatch, Path(script).name, *arguments)
    assert capsys.readouterr().out == output
