"""Text is read and written in an encoding that the code names: Windows' own is another one in each country."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("common", "data", "engine", "models", "tests", "tools")
FILES = [*ROOT.glob("*.py"), *(file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))]
WITHOUT_TEXT = {"Image", "tarfile", "os", "gzip", "zipfile"}  # modules whose `open` takes bytes or a picture
OF_PATHS = {"read_text": 0, "write_text": 1}  # positional arguments before the encoding
TEXT = {"text", "universal_newlines"}  # of subprocess


def lacks_encoding(call: ast.Call) -> bool:
    """Return whether a call handles text in the system's encoding."""
    given = {keyword.arg for keyword in call.keywords}
    if "encoding" in given or None in given:
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    if name in OF_PATHS:
        return len(call.args) <= OF_PATHS[name]
    if name != "open":
        return any(keyword.arg in TEXT and ast.unparse(keyword.value) == "True" for keyword in call.keywords)
    method = isinstance(call.func, ast.Attribute)
    if method and isinstance(call.func.value, ast.Name) and call.func.value.id in WITHOUT_TEXT:
        return False
    if len(call.args) > 3:
        return False  # the fourth, or the third of a path's, is the encoding
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[not method :][:1]
    return not any("b" in ast.unparse(mode) for mode in modes)


def found(text):
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and lacks_encoding(node)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_text_has_an_encoding(file):
    assert [node.lineno for node in found(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("code", "lacks"),
    [
        ("p.read_text()", True),
        ("p.read_text('utf-8')", False),
        ("p.write_text(text)", True),
        ("p.write_text(text, encoding='utf-8')", False),
        ("open(p)", True),
        ("open(p, 'rb')", False),
        ("open(p, mode='a')", True),
        ("open(p, 'ab' if there else 'wb')", False),
        ("open(p, 'w', -1, encoding)", False),
        ("p.open('w')", True),
        ("p.open('rb')", False),
        ("Image.open(p)", False),
        ("run(c, text=True)", True),
        ("run(c, encoding='utf-8')", False),
        ("run(c)", False),
    ],
)
def test_what_lacks_an_encoding_is_found(code, lacks):
    assert bool(found(code)) == lacks
