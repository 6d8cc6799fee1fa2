"""Runs side by side: the settings that differ, the results so far, and the learning curves."""

import itertools
import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from engine import filenames
from engine.config.load import flatten, load_config
from engine.errors import UserError
from engine.evaluation.report import WHY_WORSE, loss_name
from engine.figures.curves import as_png
from engine.history import Point, last_of_each_epoch, read_history
from engine.system.atomic import replace_text, writing_into

MISSING = "missing"  # not noted by that run
NOT_YET = "-"
LOSSES = (
    "Losses with different label smoothing cannot be compared (a perfect model's grows with the smoothing); cross "
    "entropies can."
)
# Okabe and Ito, "Color Universal Design": distinguishable with any kind of color vision. Without their yellow, which
# is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")  # when there are more runs than colors


@dataclass(frozen=True)
class Run:
    """A run as read from its output folder. It may still be in progress.

    Attributes:
        settings: {name: value}, from the flattened config and the run's environment.
        epochs: how many are planned. done: how many are done.
        steps: optimizer steps per epoch, 0 until the first epoch is done.
        evaluation: the content of `eval.json`, or None.
    """

    name: str
    settings: dict[str, Any]
    epochs: int
    points: list[Point]
    done: int
    steps: float
    evaluation: dict[str, Any] | None

    def curve(self, split: str, quantity: str) -> tuple[list[float], list[float]]:
        """Return (epochs, values) of `loss` or `top1`, both empty until an epoch is done."""
        points = [point for point in self.points if point.split == split and self.done]
        if quantity == "top1":
            points = last_of_each_epoch(point for point in points if point.epoch <= self.done)
        return [point.step / self.steps for point in points], [getattr(point, quantity) for point in points]


def read_runs(folders: Iterable[str | Path]) -> list[Run]:
    """Read the runs in output folders. A run is named by its folder, or by its path if that name is not unique.

    Raises:
        UserError: there are fewer than two folders, or one is given twice, holds no run, or is damaged.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise UserError(
            f"{paths[0]}: only one run: give two or more, or draw its curves with tools/plot_curves.py",
            key="OUTPUT",
            place=paths[0],
        )
    seen: dict[Path, Path] = {}
    for path in paths:
        if (other := seen.setdefault(path.resolve(), path)) is not path:
            raise UserError(
                f"{path}: the same folder as {other}: give each run once", key="OUTPUT", value=str(other), place=path
            )
    short = [Path(os.path.abspath(path)).name for path in paths]  # "." has no name of its own
    names = [str(path) if short.count(name) > 1 else name for path, name in zip(paths, short, strict=True)]
    return [_read_run(path, name) for path, name in zip(paths, names, strict=True)]


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
        "top1 in eval.json": _evaluated(run.evaluation) if run.evaluation else NOT_YET,
        "loss in eval.json, with the run's label smoothing": _number(evaluation.get("loss")),
        "cross entropy in eval.json": _number(evaluation.get("cross_entropy")),
    }


def _number(value: Any) -> str:
    """Return a number as text; older runs and results lack some."""
    return f"{value:.5f}" if isinstance(value, int | float) and not math.isnan(value) else NOT_YET


def _evaluated(measured: dict[str, Any]) -> str:
    flip = ", with --flip" if measured.get("flip") else ""  # older files lack the key
    return f"{measured['top1']:.5f} ({measured['split']}{flip})"


def tables(runs: Sequence[Run]) -> str:
    """Return differences and results as Markdown with aligned columns."""
    names = [run.name for run in runs]
    measured = [results(run) for run in runs]
    settings = [[f"`{name}`", *map(_text, values)] for name, values in differences(runs).items()]
    rows = [[name, *(result[name] for result in measured)] for name in measured[0]]
    parts = ["## Settings that differ", _table(["", *names], settings) if settings else "None."]
    parts += ["## Results", _table(["", *names], rows)]
    parts.append(f"{LOSSES} {WHY_WORSE}")
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


def write(runs: Sequence[Run], folder: str | Path) -> list[Path]:
    """Write `comparison.md` and `comparison.png` into a folder, created if missing; return their paths."""
    with writing_into(folder) as output:
        files = [output / "comparison.md", output / "comparison.png"]
        replace_text(files[0], tables(runs))
        files[1].write_bytes(as_png(draw(runs)))
    return files


def _read_run(folder: Path, name: str) -> Run:
    for file in (filenames.CONFIG, filenames.HISTORY):
        if not (folder / file).is_file():
            raise UserError(
                f"{folder}: no {file} in it: give the output folder of a run of train.py", key=file, place=folder
            )
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


def _made_on(file: Path) -> dict[str, Any]:
    """Return, as settings, the parts of a run's environment that can affect results or speed."""
    noted = _read_json(file, paddle=str, device=str, archive=dict) or {}
    return {
        f"{file.stem}.{name}": value
        for name, value in {**noted, "data_md5": noted.get("archive", {}).get("md5")}.items()
        if name in ("paddle", "device", "git_commit", "data_md5") and value is not None
    }


def _read_json(file: Path, **expected: type) -> dict[str, Any] | None:
    """Return the object in a file, None if there is no file; UserError unless it has keys of the expected types."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if all(isinstance(content[key], kind) for key, kind in expected.items()):
            return content
        problem = f"expected {', '.join(expected)}"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = repr(error)
    raise UserError(
        f"{file}: damaged, or not of this project ({problem}): move it away, or write it again",
        key=file.name,
        place=file,
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)  # as in YAML


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = [[" ".join(cell.split()).replace("|", r"\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in cells]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])
