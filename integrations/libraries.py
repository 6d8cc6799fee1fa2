"""The libraries that this room serves; an environment may lack them."""

import importlib.util

from engine.errors import UserError


def need(module: str) -> None:
    """Raise UserError if a library is not installed."""
    if not importlib.util.find_spec(module):
        raise UserError(
            f"this needs {module}: install requirements/integrations.txt, in an environment of its own, as "
            "docs/en/detection.md shows",
            key=module,
        )
