"""What a notebook shows below a cell: figures and source."""

from typing import Any

from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from engine.figures.architecture import architecture_figure
from engine.figures.architecture_words import WORDS
from engine.figures.curves import as_png
from engine.figures.fonts import lacking
from engine.notebooks.source import source_text
from models import RegionViT
from models.architecture import measure

DPI, FINE = 72, 100


def show(figure: Figure, dpi: int = DPI) -> Image:
    """Return a figure as a picture. Jupyter shows figures of pyplot only."""
    return Image(as_png(figure, dpi=dpi))


def source(*objects: Any) -> Markdown:
    """Return the source of functions and classes as the project has it."""
    return Markdown(source_text(*objects))


def architecture(model: RegionViT, side: int, name: str, language: str) -> Image:
    """Return a model's architecture as a picture, in English if no font has the language's letters.

    Args:
        side: that of the pictures it gets.
        language: a key of WORDS.
    """
    if lacking("".join(WORDS[language].values())):
        language = "en"
    return show(architecture_figure(measure(model, side, side), name, language), dpi=FINE)
