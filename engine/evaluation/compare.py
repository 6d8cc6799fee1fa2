"""Runs side by side: the settings that differ, the results so far, and the learning curves."""

import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from engine.evaluation import groups, pairs
from engine.evaluation.markdown import table
from engine.evaluation.report import WHY_WORSE, loss_name
from engine.evaluation.runs import MISSING, Run
from engine.figures.curves import as_png
from engine.system.atomic import replace_text, writing_into

NOT_YET = "-"
LOSSES = (
    "Losses with different label smoothing cannot be compared (a perfect model's grows with the smoothing); cross "
    "entropies can."
)
# Okabe and Ito, "Color Universal Design": distinguishable with any kind of color vision. Without their yellow, which
# is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")  # when there are more runs than colors


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the settings that differ between runs, {name: one value per run}, without the output folder.

    A setting that a run has not recorded is `MISSING`.
    """
    names = dict.fromkeys(name for run in runs for name in run.settings if name != "output_dir")
    rows = {name: [run.settings.get(name, MISSING) for run in runs] for name in names}
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values)}


def results(run: Run) -> dict[str, str]:
    """Return a run's results so far, {name: text}, with `NOT_YET` for those that do not exist yet."""
    validated = [point for point in run.points if point.split == "val"]
    best = max(validated, key=lambda point: point.top1, default=None)  # of equals the first, as in training
    speeds = [point.ips for point in run.points if point.split == "train"]
    evaluation = run.evaluation or {}
    return {
        "best top1": f"{best.top1:.5f}" if best else NOT_YET,
        "at epoch": str(best.epoch) if best else NOT_YET,
        "validation loss there, with the run's label smoothing": f"{best.loss:.5f}" if best else NOT_YET,
        "validation cross entropy there": _number(best.cross_entropy if best else None),
        "last top1": f"{validated[-1].top1:.5f}" if validated else NOT_YET,
        "epochs done / planned": f"{run.done} / {run.epochs}",
        "steps": str(max((point.step for point in run.points), default=0)),
        "training pictures/s (median)": f"{statistics.median(speeds):.1f}" if speeds else NOT_YET,
        "top1 in eval.json": _evaluated(run.evaluation, run.outdated) if run.evaluation else NOT_YET,
        "loss in eval.json, with the run's label smoothing": _number(evaluation.get("loss")),
        "cross entropy in eval.json": _number(evaluation.get("cross_entropy")),
    }


def _number(value: Any) -> str:
    """Return a number as text; older runs and results lack some."""
    return f"{value:.5f}" if isinstance(value, int | float) and not math.isnan(value) else NOT_YET


def _evaluated(measured: dict[str, Any], outdated: bool) -> str:
    flip = ", with --flip" if measured.get("flip") else ""  # older files lack the key
    return f"{measured['top1']:.5f} ({measured['split']}{flip}{', of former weights' * outdated})"


def tables(runs: Sequence[Run]) -> str:
    """Return differences, results, and what groups of seeds and pairs on the same pictures say, as Markdown.

    Raises:
        UserError: the outputs of a run's evaluation are damaged.
    """
    names = [run.name for run in runs]
    measured = [results(run) for run in runs]
    settings = [[f"`{name}`", *map(_text, values)] for name, values in differences(runs).items()]
    rows = [[name, *(result[name] for result in measured)] for name in measured[0]]
    parts = ["## Settings that differ", table(["", *names], settings) if settings else "None."]
    parts += ["## Results", table(["", *names], rows)]
    parts.append(f"{LOSSES} {WHY_WORSE}")
    found = groups.grouped(runs)
    if any(len(group.runs) > 1 for group in found):
        parts.append(groups.section(found))
    if len(found) > 1:
        parts.append(pairs.section(found))
    waiting = [run.name for run in runs if not run.done]
    if waiting:
        parts.append(f"Not drawn yet, because no epoch is done: {', '.join(waiting)}.")
    return "\n\n".join(parts) + "\n"


def draw(runs: Sequence[Run]) -> Figure:
    """Draw the runs' losses and accuracies over epochs, so that runs of different batch sizes can be compared."""
    columns = max(1, min(3, len(runs), 120 // max(len(run.name) for run in runs)))  # of the legend
    figure = Figure(figsize=(11, 4.6 + 0.2 * math.ceil(len(runs) / columns)), dpi=100, layout="constrained")
    panels = figure.subplots(1, 2)
    styles = [(colour, dashes) for dashes in DASHES for colour in COLOURS]
    smoothings = sorted({run.settings["loss.label_smoothing"] for run in runs})
    titles = {"loss": loss_name(*smoothings), "top1": "accuracy"}
    for axes, (quantity, title) in zip(panels, titles.items(), strict=True):
        for run, (colour, dashes) in zip(runs, itertools.cycle(styles), strict=False):
            axes.plot(*run.curve("train", quantity), color=colour, linestyle=dashes, linewidth=0.8, alpha=0.45)
            axes.plot(
                *run.curve("val", quantity), color=colour, linestyle=dashes, linewidth=2, marker="o", markersize=3.5
            )
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(
            [Line2D([], [], color="grey", linewidth=2), Line2D([], [], color="grey", linewidth=0.8, alpha=0.6)],
            ["validation", "training, on augmented pictures"],
        )
    handles = panels[0].get_lines()[1::2]
    legend = figure.legend(handles, ["run"] * len(runs), loc="outside lower center", ncols=columns)
    for text, run in zip(legend.get_texts(), runs, strict=True):  # set here, a name may begin with _ or contain $
        text.set(text=run.name, parse_math=False)
    return figure


def write(runs: Sequence[Run], text: str, folder: str | Path) -> list[Path]:
    """Write `comparison.md` with the tables, and `comparison.png`, into a folder, created if missing; return both."""
    with writing_into(folder) as output:
        files = [output / "comparison.md", output / "comparison.png"]
        replace_text(files[0], text)
        files[1].write_bytes(as_png(draw(runs)))
    return files


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)  # as in YAML
