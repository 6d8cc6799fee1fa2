"""The source of functions and classes, as Markdown."""

import inspect
import textwrap
from typing import Any


def source_text(*objects: Any) -> str:
    """Return the source of functions and classes as a block of Markdown."""
    code = "\n\n".join(textwrap.dedent(inspect.getsource(each)).strip() for each in objects)
    return f"```python\n{code}\n```"
