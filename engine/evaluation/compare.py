"""Runs side by side: how their settings differ, what came out of them so far, and their learning curves."""

import itertools
import json
import math
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from engine import filenames
from engine.config.load import flatten, load_config
from engine.errors import UserError
from engine.figures.curves import CURVES, as_png
from engine.history import Point, last_of_each_epoch, read_history
from engine.system.atomic import replace_text, writing_into

MISSING = "missing"  # not noted by that run
NOT_YET = "-"
# Okabe and Ito, "Color Universal Design": told apart with any kind of colour vision. Their yellow is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")  # for more runs than colours


@dataclass(frozen=True)
class Run:
    """What an output folder tells of a run, which may still be going.

    settings: the config as in `config.flatten` and what the run was made on, {name: value}.
    epochs: planned. done: epochs done. steps: in an epoch; 0 before the first one is done.
    evaluation: what `eval.json` holds, or None.
    """

    name: str
    settings: dict
    epochs: int
    points: list[Point]
    done: int
    steps: float
    evaluation: dict | None

    def curve(self, split, quantity):
        """Return what there is to draw of `loss` or `top1`: (epochs, values), nothing before an epoch is done."""
        points = [point for point in self.points if point.split == split and self.done]
        if quantity == "top1":
            points = last_of_each_epoch(point for point in points if point.epoch <= self.done)
        return [point.step / self.steps for point in points], [getattr(point, quantity) for point in points]


def read_runs(folders):
    """Read the runs in output folders, named by their folders, or by their whole paths where these are not enough.

    Raises:
        UserError: fewer than two, one of them given twice, or one that is no run's or is damaged.
    """
    folders = [Path(folder) for folder in folders]
    if len(folders) < 2:
        raise UserError(f"{folders[0]}: one run: give two or more, or draw its curves by tools/plot_curves.py")
    seen = {}
    for folder in folders:
        if (other := seen.setdefault(folder.resolve(), folder)) is not folder:
            raise UserError(f"{folder}: the same folder as {other}: give each run once")
    short = [Path(os.path.abspath(folder)).name for folder in folders]  # "." has no name of its own
    names = [str(folder) if short.count(name) > 1 else name for folder, name in zip(folders, short, strict=True)]
    return [_read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def differences(runs):
    """Return the settings that are not the same in all runs, {name: a value a run}; the output folder always differs.

    What only some runs have noted is `MISSING` in the others.
    """
    names = dict.fromkeys(name for run in runs for name in run.settings if name != "output_dir")
    rows = {name: [run.settings.get(name, MISSING) for run in runs] for name in names}
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values)}


def results(run):
    """Return what came out of a run so far, {what: text}, with `NOT_YET` for what is not there."""
    validated = [point for point in run.points if point.split == "val"]
    best = max(validated, key=lambda point: point.top1, default=None)  # the first of them, as in training
    speeds = [point.ips for point in run.points if point.split == "train"]
    return {
        "best top1": f"{best.top1:.5f}" if best else NOT_YET,
        "at epoch": str(best.epoch) if best else NOT_YET,
        "validation loss there": f"{best.loss:.5f}" if best else NOT_YET,
        "last top1": f"{validated[-1].top1:.5f}" if validated else NOT_YET,
        "epochs done / planned": f"{run.done} / {run.epochs}",
        "steps": str(max((point.step for point in run.points), default=0)),
        "training pictures/s (median)": f"{statistics.median(speeds):.1f}" if speeds else NOT_YET,
        "top1 in eval.json": _evaluated(run.evaluation) if run.evaluation else NOT_YET,
    }


def _evaluated(measured):
    flip = ", with --flip" if measured.get("flip") else ""  # which older ones do not say
    return f"{measured['top1']:.5f} ({measured['split']}{flip})"


def tables(runs):
    """Return differences and results as Markdown, aligned for people too."""
    names = [run.name for run in runs]
    different, came_out = differences(runs), [results(run) for run in runs]
    settings = [[f"`{name}`", *map(_text, values)] for name, values in different.items()]
    measured = [[what, *(result[what] for result in came_out)] for what in came_out[0]]
    parts = ["## Settings that differ", _table(["", *names], settings) if settings else "None."]
    parts += ["## Results", _table(["", *names], measured)]
    waiting = [run.name for run in runs if not run.done]
    if waiting:
        parts.append(f"Not drawn yet, for no epoch is done: {', '.join(waiting)}.")
    return "\n\n".join(parts) + "\n"


def draw(runs):
    """Draw the runs' losses and accuracies over epochs, which are the same amount of data at any batch size."""
    columns = max(1, min(3, len(runs), 120 // max(len(run.name) for run in runs)))  # of the legend
    figure = Figure(figsize=(11, 4.6 + 0.2 * math.ceil(len(runs) / columns)), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(CURVES))
    styles = [(colour, dashes) for dashes in DASHES for colour in COLOURS]
    for axes, (quantity, title) in zip(panels, CURVES.items(), strict=True):
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
            ["validation", "training"],
        )
    handles = panels[0].get_lines()[1::2]
    legend = figure.legend(handles, ["run"] * len(runs), loc="outside lower center", ncols=columns)
    for text, run in zip(legend.get_texts(), runs, strict=True):  # only so may a name begin with _ or hold a $
        text.set(text=run.name, parse_math=False)
    return figure


def write(runs, folder):
    """Write `comparison.md` and `comparison.png` into a folder, made where missing; return their paths."""
    with writing_into(folder) as folder:
        files = [folder / "comparison.md", folder / "comparison.png"]
        replace_text(files[0], tables(runs))
        files[1].write_bytes(as_png(draw(runs)))
    return files


def _read_run(folder, name):
    for file in (filenames.CONFIG, filenames.HISTORY):
        if not (folder / file).is_file():
            raise UserError(f"{folder}: no {file} in it: give the output folder of a run, as train.py leaves it")
    config = load_config(folder / filenames.CONFIG)
    points = read_history(folder / filenames.HISTORY)
    last = next((point for point in reversed(points) if point.split == "val"), None)
    return Run(
        name=name,
        settings={**flatten(config), **_made_on(folder / filenames.ENVIRONMENT)},
        epochs=config.train.epochs,
        points=points,
        done=last.epoch if last else 0,
        steps=last.step / last.epoch if last else 0,
        evaluation=_read_json(folder / filenames.EVALUATION, top1=float, split=str),
    )


def _made_on(file):
    """What decides numbers or speed beside the config, as settings."""
    noted = _read_json(file, paddle=str, device=str, archive=dict) or {}
    return {
        f"{file.stem}.{name}": value
        for name, value in {**noted, "data_md5": noted.get("archive", {}).get("md5")}.items()
        if name in ("paddle", "device", "git_commit", "data_md5") and value is not None
    }


def _read_json(file, **expected):
    """Return the object in a file that has keys of the expected types; None where there is no file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if all(isinstance(content[key], kind) for key, kind in expected.items()):
            return content
        problem = f"expected {', '.join(expected)}"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = repr(error)
    raise UserError(f"{file}: damaged, or not of this project ({problem}): move it away, or have it written again")


def _text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)  # as YAML has it


def _table(head, rows):
    cells = [[" ".join(cell.split()).replace("|", r"\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in cells]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])
