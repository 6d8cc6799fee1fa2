"""Imports point downward only: between folders in the order of `ROOMS`, and inside a folder without cycles.

`docs/en/design.md` shows the same order. Imports inside functions count too.
"""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From the bottom up. Rooms of one line do not know each other.
ROOMS = [
    ["common"],
    ["models", "data"],
    ["engine.errors"],
    ["engine.filenames"],
    ["engine.system"],
    ["engine.history"],
    ["engine.metrics"],
    ["engine.config"],
    ["engine.weights"],
    ["engine.figures"],
    ["engine.output"],
    ["engine.training"],
    ["engine.inference"],
    ["engine.evaluation", "engine.explorer"],
    ["engine.repeat"],
    ["engine.benchmark"],
    ["engine.check"],
    ["engine.notebooks", "integrations"],
    ["engine.cli"],
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def name_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TOP = ("common", "models", "data", "engine", "integrations")
MODULES = {name_of(file): file for top in TOP for file in (ROOT / top).rglob("*.py")}


def imports(module):
    """Return the modules of this project that a module imports, the most precise names that exist."""
    file, found = MODULES[module], set()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return {name for name in found if name in MODULES} - {module}


def room(module):
    return next(
        (name for name in (module, ".".join(module.split(".")[:2]), module.split(".")[0]) if name in LEVEL), None
    )


ARROWS = [(module, target) for module in MODULES for target in imports(module) if room(module) and room(target)]


def test_every_module_has_a_room():
    assert [module for module in MODULES if not room(module) and module != "engine"] == []


@pytest.mark.parametrize("source", LEVEL)
def test_a_room_imports_only_from_rooms_below(source):
    upward = [
        f"{module} -> {target}"
        for module, target in ARROWS
        if room(module) == source != room(target) and LEVEL[room(target)] >= LEVEL[source]
    ]
    assert upward == []


@pytest.mark.parametrize("inside", LEVEL)
def test_no_modules_of_a_room_import_each_other_in_a_circle(inside):
    graph = {}
    for module, target in ARROWS:
        # A package's own name stands for what its __init__ gathers; nothing inside may import that.
        if room(module) == room(target) == inside:
            graph.setdefault(module, set()).add(target)
    graphlib.TopologicalSorter(graph).prepare()
