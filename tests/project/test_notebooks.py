"""The stored notebooks: one in two languages, small, and with the outputs of the present code.

After a change that makes a test here fail, run `python tools/run_notebooks.py` and look at what it stored.
"""

import ast
import base64
import importlib
import json
import re
import shutil
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = (ROOT / "notebooks" / f"regionvit_cifar10{language}.ipynb" for language in ("", "_zh"))
BOTH = pytest.mark.parametrize("file", [ENGLISH, CHINESE], ids=["english", "chinese"])
HAN = re.compile("[\u4e00-\u9fff]")
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.DOTALL)
NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
LONGEST = {"find": 24}  # lines of code, where they are more than LINES
LINES, COLUMNS = 15, 95


def cells(file, kind=None):
    found = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def text(cell):
    return "".join(cell["source"])


def pairs(kind):
    return zip(cells(ENGLISH, kind), cells(CHINESE, kind), strict=True)


def test_both_languages_have_the_same_cells():
    english, chinese = (
        [(cell["id"], cell["cell_type"], cell["metadata"]) for cell in cells(file)] for file in (ENGLISH, CHINESE)
    )
    for a, b in zip_longest(english, chinese):
        assert a == b


class _WithoutWords(ast.NodeTransformer):
    """Takes texts out of code: `words`, in order, and all that f-strings say around their values."""

    def __init__(self):
        self.words = []

    def visit_Constant(self, node):
        if not isinstance(node.value, str):
            return node
        self.words.append(node.value)
        return ast.copy_location(ast.Constant("text"), node)

    def visit_JoinedStr(self, node):
        """Of these, the values remain; a language has its own order of words."""
        values = [self.visit(part) for part in node.values if isinstance(part, ast.FormattedValue)]
        return ast.copy_location(ast.List(sorted(values, key=ast.dump), ast.Load()), node)


def code_and_words(cell):
    without = _WithoutWords()
    return ast.dump(without.visit(ast.parse(text(cell)))), without.words


def test_both_languages_have_the_same_code_but_for_texts_for_readers():
    """Such a text has Chinese letters in the Chinese notebook, says which language a figure is in, or ends a line."""
    for english, chinese in pairs("code"):
        (a, in_english), (b, in_chinese) = code_and_words(english), code_and_words(chinese)
        assert a == b, english["id"]
        for word, translated in zip(in_english, in_chinese, strict=True):
            free = HAN.search(translated) or (word, translated) in (("en", "zh"), (" ", ""))
            assert word == translated or free, english["id"]


def test_both_languages_have_the_same_formulas_numbers_and_links():
    for english, chinese in pairs("markdown"):
        for find in (FORMULA.findall, NUMBER.findall, re.compile(r"^#+ ", re.MULTILINE).findall):
            a, b = (sorted(find(text(cell).replace("_zh", ""))) for cell in (english, chinese))
            assert a == b, english["id"]
        a, b = (sorted(re.findall(r"\]\((.*?)\)", text(cell))) for cell in (english, chinese))
        swapped = [link.replace("/zh/", "/en/") for link in b]
        assert swapped == a or english["id"] == "title", english["id"]


@BOTH
def test_links_lead_somewhere(file):
    links = [link for cell in cells(file, "markdown") for link in re.findall(r"\]\((.*?)\)", text(cell))]
    assert links
    for link in links:
        assert link.startswith("https://") or (file.parent / link).exists(), link


@BOTH
def test_cells_are_short(file):
    for cell in cells(file, "code"):
        assert len(text(cell).splitlines()) <= LONGEST.get(cell["id"], LINES), cell["id"]
        assert max(map(len, text(cell).splitlines())) <= COLUMNS, cell["id"]


@BOTH
def test_a_notebook_is_stored_small_as_executed_from_the_top(file):
    assert file.stat().st_size < 400_000
    code = cells(file, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert "stderr" not in {output.get("name") for output in outputs}
    for output in outputs:
        assert not any("widget" in kind for kind in output.get("data", {}))
        if png := output.get("data", {}).get("image/png"):
            assert base64.b64decode(png).startswith(b"\x89PNG")


@BOTH
def test_a_stored_notebook_knows_nothing_of_a_machine(file):
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert stored["metadata"]["language_info"] == {"name": "python"}
    assert all(set(cell["metadata"]) <= {"tags"} for cell in stored["cells"])
    assert not re.search(r"/(?:tmp|home|root|Users|usr|opt)\b", file.read_text(encoding="utf-8"))


def imported(file):
    """The names that a notebook imports from the project."""
    names = {}
    for cell in cells(file, "code"):
        for node in ast.walk(ast.parse(text(cell))):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in ("data", "engine", "models"):
                if node.module.startswith("engine.notebooks"):
                    continue  # which needs IPython
                module = importlib.import_module(node.module)
                names |= {alias.name: getattr(module, alias.name) for alias in node.names}
    return names


@BOTH
def test_the_source_that_a_notebook_shows_is_the_present_one(file):
    from engine.notebooks.source import source_text

    names, shown = imported(file), 0
    for cell in cells(file, "code"):
        if match := re.search(r"^source\((.+)\)$", text(cell), re.MULTILINE):
            wanted = source_text(*(eval(name, dict(names)) for name in match[1].split(", ")))
            (output,) = cell["outputs"]
            assert "".join(output["data"]["text/markdown"]) == wanted, cell["id"]
            shown += 1
    assert shown >= 8


def a_project(folder):
    (folder / "engine").mkdir(parents=True)
    (folder / "engine" / "cli.py").touch()
    return folder


def run_find(file, cwd, source=""):
    """Run the first cell in a folder; return the process, whose last line on stdout is the folder that it ends in."""
    (cell,) = [cell for cell in cells(file, "code") if cell["id"] == "find"]
    code = text(cell).replace('SOURCE = ""', f"SOURCE = {str(source)!r}")
    assert str(source) in code
    command = [sys.executable, "-c", f"{code}\nprint(os.getcwd() if os.getcwd() == sys.path[0] else sys.path)"]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8")


def found(file, cwd, source=""):
    done = run_find(file, cwd, source)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


@BOTH
def test_the_first_cell_finds_the_project_around_it_or_below(file, tmp_path):
    project = a_project(tmp_path / "below")
    (project / "notebooks").mkdir()
    assert [found(file, folder) for folder in (project, project / "notebooks", tmp_path)] == [project] * 3


@BOTH
def test_the_first_cell_gets_the_project_from_an_address_or_a_zip(file, tmp_path):
    project, by_git, by_zip = a_project(tmp_path / "far" / "project"), tmp_path / "1", tmp_path / "2"
    by_git.mkdir()
    by_zip.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], cwd=project, check=True)
    assert found(file, by_git, project.as_uri()) == by_git / "project"

    shutil.make_archive(str(by_zip / "upload"), "zip", project.parent, "project")
    assert found(file, by_zip, "upload.zip") == by_zip / "project"


@BOTH
@pytest.mark.parametrize("source", ["", "missing.zip", "broken.zip"])
def test_without_a_project_the_first_cell_says_what_to_fill_in(file, tmp_path, source):
    (tmp_path / "broken.zip").write_text("PK", encoding="utf-8")
    done = run_find(file, tmp_path, source)
    assert done.returncode == 1
    assert "SOURCE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@BOTH
def test_a_fresh_execution_prints_what_is_stored(file):
    """Times, versions and trained numbers, in cells tagged `machine`, are free."""
    for module in ("nbclient", "ipykernel", "ipywidgets"):
        pytest.importorskip(module)
    from engine.notebooks.stored import differences, execute

    assert differences(json.loads(file.read_text(encoding="utf-8")), execute(file)) == []
