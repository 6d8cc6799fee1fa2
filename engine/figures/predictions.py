"""Figures of predictions: grids, confusion matrix, quality per class, reliability diagram."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from common.words import counted
from engine.figures.fonts import width
from engine.metrics.quality import Predictions

GRID = 18  # pictures in a grid, as in the notebook
COLUMNS, NARROW = 6, 3  # pictures in a row of a grid, and in one that fits on a phone
RIGHT, WRONG = "✓", "✗"  # marks, for those who cannot distinguish green and red
LARGE, NAMED = 25, 120  # the most classes that an axis can name in letters of normal size, and in small ones
WIDTH = 4.95  # inches: letters stay readable where the figure is as wide as a phone's screen
OVER_PICTURE = 14  # the width of a class name that leaves room for "(true: )" or a percentage


def short(name: str, most: int = 20) -> str:
    """Return a name that is at most `most` wide; a wider one loses its middle."""
    if width(name) <= most:
        return name
    head = tail = name
    while width(head) > most // 2 - 1:
        head = head[:-1]
    while width(tail) > most // 2:
        tail = tail[1:]
    return f"{head}…{tail}"


def picture_grid(
    images: np.ndarray | Sequence[np.ndarray],
    titles: Sequence[str],
    correct: np.ndarray | None = None,
    columns: int = COLUMNS,
) -> Figure:
    """Draw pictures, uint8 [N, H, W, 3], each under a title: green and ticked if `correct`, red and crossed if not."""
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.65 * columns, 2.15 * rows), dpi=100, layout="constrained")
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(image, interpolation="nearest")
        axes.set_axis_off()
        colour = "black" if correct is None else "green" if correct[i] else "red"
        if correct is not None:
            title = f"{RIGHT if correct[i] else WRONG} {title}"
        axes.set_title(title, fontsize=9, color=colour, parse_math=False)
    return figure


def prediction_grid(
    predictions: Predictions, images: np.ndarray, classes: Sequence[str], columns: int = COLUMNS
) -> Figure:
    """Draw the first pictures, each under its predicted and true class, marked as `picture_grid` does."""
    first = range(min(GRID, len(images)))
    classes = [short(name, OVER_PICTURE) for name in classes]
    titles = [f"{classes[predictions.predicted[i]]}\n(true: {classes[predictions.labels[i]]})" for i in first]
    return picture_grid(images[: len(first)], titles, predictions.correct, columns)


def mistakes_grid(
    predictions: Predictions, images: np.ndarray, classes: Sequence[str], columns: int = COLUMNS
) -> Figure:
    """Draw the misclassified pictures of the highest confidence, each under its predicted and true class."""
    wrong, classes = predictions.mistakes(GRID), [short(name, OVER_PICTURE) for name in classes]
    titles = [
        f"{classes[predictions.predicted[i]]} {predictions.confidence[i]:.1%}\n(true: {classes[predictions.labels[i]]})"
        for i in wrong
    ]
    if len(wrong):
        return picture_grid(images[wrong], titles, columns=columns)
    figure = Figure(figsize=(1.65 * columns, 1), dpi=100)
    figure.text(0.5, 0.5, f"no mistakes in {counted(len(images), 'picture')}", ha="center", va="center")
    return figure


def confusion_matrix(predictions: Predictions, images: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix: the share of the true class as color, and for few classes also the counts."""
    counts, names = predictions.confusion(), [short(name) for name in classes]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = len(classes) <= LARGE
    side = 1.55 + 0.34 * min(len(classes), LARGE) if few else 3 + 0.45 * LARGE
    figure = Figure(figsize=(side, 0.9 * side), dpi=100, layout="constrained")
    axes: Any = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(title="Confusion matrix", xlabel="predicted class", ylabel="true class")
    if len(classes) <= NAMED:
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if few else {"rotation": 90}
        axes.set_xticks(range(len(names)), names, parse_math=False, **turned, **_size(classes))
        axes.set_yticks(range(len(names)), names, parse_math=False, **_size(classes))
    else:
        axes.set(xlabel="predicted class, by its number", ylabel="true class, by its number")
    if few:
        for (true, predicted), count in np.ndenumerate(counts):
            colour = "white" if shares[true, predicted] > 0.5 else "black" if count else "silver"
            axes.text(predicted, true, str(count), ha="center", va="center", fontsize=8, color=colour)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30, label="share of the true class")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def class_quality(predictions: Predictions, images: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw precision, recall and F1 per class, the worst F1 at the bottom. Of too many classes, draw only the worst.

    A class without pictures stands at the top, with a dash instead of numbers.
    """
    quality, title = predictions.per_class(), "Each class"
    order = sorted(range(len(classes)), key=lambda i: (not quality[i].images, quality[i].f1))
    if len(classes) > NAMED:
        order, title = order[:LARGE], f"The {LARGE} of {len(classes)} classes with the worst F1"
    names, measured = [short(classes[i]) for i in order], [quality[i] for i in order if quality[i].images]
    figure = Figure(figsize=(WIDTH, 1.5 + _height(len(order))), dpi=100, layout="constrained")
    axes: Any = figure.add_subplot()
    rows, marker = np.arange(len(measured)), 5 if len(order) <= LARGE else 3
    axes.barh(rows, [x.f1 for x in measured], color="lightsteelblue", label="F1")
    axes.plot([x.precision for x in measured], rows, "o", color="tab:blue", markersize=marker, label="precision")
    axes.plot([x.recall for x in measured], rows, "D", color="tab:orange", markersize=marker, label="recall")
    for row in range(len(measured), len(order)):
        axes.text(0.01, row, "– (no pictures)", va="center", **_size(order))
    axes.set_yticks(range(len(order)), names, parse_math=False, **_size(order))
    axes.set(title=title, xlim=(0, 1.005), ylim=(-0.6, len(order) - 0.4))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def reliability_diagram(
    predictions: Predictions, images: np.ndarray, classes: Sequence[str], before: Predictions | None = None
) -> Figure:
    """Draw the reliability diagram: accuracy over confidence, and below it the number of pictures per bin.

    before: the predictions before their temperature, drawn as crosses and steps.
    """
    calibration = predictions.calibration()
    bins = len(calibration.images)
    middles, some = (np.arange(bins) + 0.5) / bins, calibration.images > 0
    figure = Figure(figsize=(WIDTH, WIDTH), dpi=100, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="perfect calibration")
    top.bar(middles, calibration.accuracy, 1 / bins, color="lightsteelblue", edgecolor="white", label="accuracy")
    top.plot(calibration.confidence[some], calibration.accuracy[some], "o", color="tab:blue", label="mean confidence")
    bottom.bar(middles, calibration.images, 1 / bins, color="grey", edgecolor="white")
    title = f"Expected calibration error {calibration.error:.2%}"
    if before is not None:
        old = before.calibration()
        title += f"\n{old.error:.2%} before the temperature"
        some, style = old.images > 0, {"color": "tab:orange", "label": "before the temperature"}
        top.plot(old.confidence[some], old.accuracy[some], "X", **style)
        bottom.stairs(old.images, np.arange(bins + 1) / bins, **style)
    top.set(
        title=title,
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    top.legend(loc="upper left")
    bottom.set(xlabel="confidence: the probability of the predicted class", ylabel="pictures")
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    top.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


# Each is drawn from (predictions, images uint8 [N, h, w, 3], names of the classes).
OF_PREDICTIONS: dict[str, Callable[[Predictions, np.ndarray, Sequence[str]], Figure]] = {
    "predictions": prediction_grid,
    "class_quality": class_quality,
    "confusion_matrix": confusion_matrix,
    "reliability": reliability_diagram,
    "mistakes": mistakes_grid,
}
# The same for narrow screens, where grids of so many columns would be too small.
ON_A_PHONE = {
    "predictions": partial(prediction_grid, columns=NARROW),
    "mistakes": partial(mistakes_grid, columns=NARROW),
}
ON_DASHBOARD = ("predictions", "confusion_matrix", "mistakes")


def _height(classes: int) -> float:
    """Return the inches that one row per class needs."""
    return 0.3 * min(classes, LARGE) + 0.06 * (classes - min(classes, LARGE))


def _size(classes: Sequence[Any]) -> dict[str, int]:
    return {} if len(classes) <= LARGE else {"fontsize": 6}
