"""The names of the classes that weights were trained on, which a run notes beside them."""

import json
from pathlib import Path

from engine import filenames


def noted_classes(weights: str | Path) -> list[str] | None:
    """Return the names in the `environment.json` beside a file of weights, or in that of a checkpoint's run.

    None: there is none, or it is damaged or of a run that did not note them.
    """
    folder = Path(weights).parent
    if folder.parent.name == filenames.CHECKPOINTS:
        folder = folder.parent.parent
    try:
        classes = json.loads((folder / filenames.ENVIRONMENT).read_text(encoding="utf-8"))["archive"]["classes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return classes if isinstance(classes, list) and all(isinstance(name, str) for name in classes) else None
