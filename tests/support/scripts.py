"""Running the scripts of `tools` in the test's own process."""

import runpy
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"


def tool(monkeypatch, name, *arguments):
    """Run tools/<name> with arguments, as the command would."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(TOOLS / name), run_name="__main__")
