"""Imported first by every tool: a Python without the environment does not find the project's own modules either.

`engine.cli` says the same where only other packages are missing.
"""

import importlib.util
import sys
from pathlib import Path

if not importlib.util.find_spec("engine"):
    project = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(project))
    from common.shell import set_up

    print(
        f"error: this Python ({sys.executable}) has no module engine: set up the environment and activate it with "
        f"{set_up(project)}",
        file=sys.stderr,
    )
    sys.exit(2)
