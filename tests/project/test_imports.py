"""Whatever of this project a program imports first, Python's zlib is loaded before Paddle.

Paddle 2.6.2 brings a zlib of its own. Where Python's is a module of its own, too, and is imported after Paddle, its
calls end in Paddle's: the process dies, or a whole archive seems damaged.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import archives

ROOT = Path(__file__).parents[2]
ROOMS = ["common", "data", "models", "engine"]
PUBLIC = [
    "models",
    "common.paddle_private",
    *(f"engine.{file.parent.name}" for file in ROOT.glob("engine/*/__init__.py")),
]
LOAD = """
import {module}
import sys, data
assert len(data.load(sys.argv[1]).train) == 100
import gzip
assert gzip.decompress(gzip.compress(bytes(1000000))) == bytes(1000000)
"""


@pytest.mark.parametrize(("room", "first"), [("common", "zlib"), *((name, "common") for name in ROOMS[1:])])
def test_whatever_is_imported_zlib_comes_first(room, first):
    """Python runs the `__init__` of a room before any module in it."""
    tree = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert isinstance(imports[0], ast.Import)
    assert [alias.name for alias in imports[0].names] == [first]


@pytest.mark.parametrize("module", ["data", *(pytest.param(name, marks=pytest.mark.slow) for name in PUBLIC)])
def test_an_archive_is_read_in_a_fresh_process(module, tmp_path):
    command = [sys.executable, "-c", LOAD.format(module=module), archives.of("cifar10", tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
