"""The heat map of accuracies under corruptions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

DARK = 0.55  # accuracies whose color is darker than this one's have white letters


def heat_map(accuracies: Mapping[str, Sequence[float]], clean: float, title: str) -> Figure:
    """Draw accuracies, corruptions down and severities across; severity 0 is the clean pictures."""
    names = [name.replace("_", " ") for name in accuracies]
    values = np.array([[clean, *of_severities] for of_severities in accuracies.values()])
    figure = Figure(figsize=(6.4, 1.3 + 0.33 * len(names)), dpi=100, layout="constrained")
    axes: Any = figure.add_subplot()
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(values.shape[1]), ["clean", *range(1, values.shape[1])])
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="severity")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.axvline(0.5, color="white", linewidth=2)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < DARK else "black"
        axes.text(column, row, f"{value:.1%}", ha="center", va="center", fontsize=9, color=colour)
    bar = figure.colorbar(image, ax=axes, label="accuracy")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    return figure
