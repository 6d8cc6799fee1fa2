"""What a Jupyter notebook does otherwise than a terminal."""

import sys

from tqdm.auto import tqdm

# Whether bars are widgets: tqdm.auto chooses them in a kernel that has ipywidgets.
HAS_WIDGETS = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)


def in_notebook() -> bool:
    """Return whether this runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return "IPKernelApp" in getattr(shell, "config", ())
