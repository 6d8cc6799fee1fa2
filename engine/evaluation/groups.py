"""Runs that differ by their seed alone, as groups: mean, deviation and interval of their accuracies."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.words import counted
from engine import filenames
from engine.config.options import options
from engine.evaluation.markdown import table
from engine.evaluation.runs import MISSING, Run
from engine.metrics.spread import deviations, over_seeds

SEED = "train.seed"
COMMIT, DEVICE = "environment.git_commit", "environment.device"
NOTHING = "-"


@dataclass(frozen=True)
class Group:
    """Finished runs that differ by their seed alone, and so measure one thing several times; or a single one."""

    name: str
    runs: tuple[Run, ...]

    def last(self) -> list[float]:
        """Return the validation accuracy after the last epoch, one per run."""
        return [run.curve("val", "top1")[1][-1] for run in self.runs]


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Group finished runs, in their order; runs in progress are left out.

    Runs of one group have the same options, Paddle, kind of device and data. Options that do not affect results may
    differ, and so may commits, number of threads and index of the GPU, which `notes` names. Of two runs with the same
    seed, the second is in another group: together they would make the spread look smaller.
    """
    found: list[list[Run]] = []
    for run in runs:
        if run.done < run.epochs:
            continue
        fitting = (
            group
            for group in found
            if _what_matters(group[0]) == _what_matters(run)
            and run.settings[SEED] not in [other.settings[SEED] for other in group]
        )
        group = next(fitting, None)
        if group is None:
            found.append([run])
        else:
            group.append(run)
    names = [_name(group) for group in found]
    return [
        Group(_listed(group) if names.count(name) > 1 else name, tuple(group))
        for name, group in zip(names, found, strict=True)
    ]


def kind(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return what an accuracy in `eval.json` is of: the weights, how they were applied, and the pictures."""
    weights = {"weights": Path(str(evaluation.get("weights"))).name, "flip": bool(evaluation.get("flip"))}
    return {**weights, **pictures(evaluation)}


def pictures(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies the pictures of an evaluation, with their labels: data, split and what was held out."""
    provenance = evaluation.get("provenance", {})
    names = ("archive_md5", "archive_holdout", "archive_holdout_split")
    return {"split": evaluation["split"], **{name: provenance.get(name) for name in names}}


def section(groups: Sequence[Group]) -> str:
    """Return the groups as Markdown."""
    columns = [_column(group) for group in groups]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    parts = [f"## Groups: runs that differ by `{SEED}` alone", table(["", *(group.name for group in groups)], rows)]
    parts.append(" ".join(worth(count) for count in sorted({len(group.runs) for group in groups})))
    return "\n\n".join([*parts, *(note for group in groups for note in notes(group))])


def worth(count: int) -> str:
    """Return what an interval over that many seeds is worth, as a sentence."""
    if count == 1:
        return "One seed is not an estimate of the spread over seeds."
    about = f"With {counted(count, 'seed')} the interval of the mean reaches {deviations(count):.1f} deviations to "
    about += "either side"
    if count == 2:
        return f"{about}, because two values hardly tell how far values spread: run more seeds."
    return (
        f"{about}; the deviation itself is a rough estimate, better with five seeds or more."
        if count < 5
        else f"{about}."
    )


def notes(group: Group) -> list[str]:
    """Return in what the runs of a group differ beside the seed, as sentences."""
    found = []
    for name, words in ((COMMIT, "commits"), (DEVICE, "devices or numbers of threads")):
        values = sorted({str(run.settings.get(name, MISSING)) for run in group.runs})
        values = [value[:10] if name == COMMIT else value for value in values]
        if len(values) > 1:
            found.append(f"{group.name}: of several {words}, which this table takes for equal: {'; '.join(values)}.")
    if former := [run.name for run in group.runs if run.outdated]:
        found.append(
            f"{group.name}: {filenames.EVALUATION} is of former weights in {', '.join(former)}: run eval.py again."
        )
    elif len(group.runs) > 1 and all(run.evaluation for run in group.runs) and not evaluated(group):
        found.append(f"{group.name}: the runs were evaluated with different weights, ways or pictures, see eval.json.")
    return found


def evaluated(group: Group) -> list[float]:
    """Return the accuracies in `eval.json`, one per run; none unless all are of the runs' weights and the same kind."""
    measured = [run.evaluation for run in group.runs if run.evaluation and not run.outdated]
    alike = len(measured) == len(group.runs) and all(kind(one) == kind(measured[0]) for one in measured)
    return [one["top1"] for one in measured] if alike else []


def _column(group: Group) -> dict[str, str]:
    values = evaluated(group)
    first = group.runs[0].evaluation if values else None
    flip = ", with --flip" if first and first.get("flip") else ""
    return {
        "seeds": ", ".join(str(run.settings[SEED]) for run in group.runs),
        **{f"last top1: {name}": text for name, text in _spread(group.last()).items()},
        "eval.json is of": f"{kind(first)['weights']}, {first['split']}{flip}" if first else NOTHING,
        **{f"top1 in eval.json: {name}": text for name, text in _spread(values).items()},
    }


def _spread(values: Sequence[float]) -> dict[str, str]:
    several = over_seeds(values) if len(values) > 1 else None
    return {
        "mean": f"{statistics.fmean(values):.5f}" if values else NOTHING,
        "deviation (n - 1)": f"{statistics.stdev(values):.5f}" if several else NOTHING,
        "95 % interval of the mean": f"{several.low:.5f} to {several.high:.5f}" if several else NOTHING,
    }


def _what_matters(run: Run) -> dict[str, Any]:
    """Return the settings in which the runs of a group are equal."""
    free = {name for name, item in options().items() if item.metadata["free"]} | {SEED, COMMIT}
    kept = {name: value for name, value in run.settings.items() if name not in free}
    machine = re.sub(r", \d+ threads?", "", str(run.settings.get(DEVICE, MISSING)))
    return {**kept, DEVICE: re.sub(r"^gpu:\d+", "gpu", machine)}


def _name(runs: Sequence[Run]) -> str:
    """Return the name of the folder that has all of several runs, else the names of the runs."""
    parents = {run.folder.resolve().parent for run in runs}
    return parents.pop().name if len(runs) > 1 and len(parents) == 1 else _listed(runs)


def _listed(runs: Sequence[Run]) -> str:
    return ", ".join(run.name for run in runs)
