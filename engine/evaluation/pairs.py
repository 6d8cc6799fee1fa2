"""Groups of runs, or single runs, compared on the same pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import data
from common.shell import command
from engine import filenames
from engine.evaluation import outputs
from engine.evaluation.groups import NOTHING, Group, kind, pictures
from engine.evaluation.markdown import table
from engine.evaluation.runs import Run
from engine.metrics.quality import Predictions
from engine.metrics.spread import Interval, McNemar, Welch, mcnemar, over_pictures, welch
from engine.system.atomic import sha256sum

HEAD = (
    "difference",
    "95 % interval over pictures",
    "only one is right",
    "McNemar's p",
    "95 % interval over seeds",
    "Welch's p",
)
OF_PICTURES = (
    "The interval over pictures (paired bootstrap) and McNemar's exact test cover the choice of the pictures: what "
    "others of their kind could change, for these very weights."
)
OF_SEEDS = "Welch's t covers the choice of the seeds: what others could change, on these very pictures."
NO_SEEDS = "Other seeds are covered by nothing here: a single run says nothing of them."
SEVERAL = "Of many comparisons, one in twenty misses 0 by chance."


class NotPaired(Exception):
    """Two groups were not measured on the same pictures; one line that says why, and what to run."""


@dataclass(frozen=True)
class Difference:
    """The accuracy of a group minus that of another, on the same pictures.

    Attributes:
        over_pictures: with the accuracy on each picture averaged over the seeds.
        mcnemar: of two single runs, else None. welch: of two groups with a spread over seeds, else None.
    """

    over_pictures: Interval
    mcnemar: McNemar | None
    welch: Welch | None


def difference(group: Group, other: Group) -> Difference:
    """Compare two groups by their evaluations.

    Raises:
        NotPaired: they are not of the same pictures, or the outputs for each picture are missing.
        UserError: an `outputs.npz` is damaged.
    """
    runs = (*group.runs, *other.runs)
    for run in runs:
        _refuse_without_pictures(run)
    _refuse_other_pictures(runs)
    ours, theirs = (np.stack([_correct(run) for run in one.runs]) for one in (group, other))
    alone = len(ours) == len(theirs) == 1
    return Difference(
        over_pictures(ours.mean(axis=0) - theirs.mean(axis=0)),
        mcnemar(ours[0], theirs[0]) if alone else None,
        welch(ours.mean(axis=1).tolist(), theirs.mean(axis=1).tolist()),
    )


def section(groups: Sequence[Group]) -> str:
    """Return each further group compared with the first as Markdown.

    Raises:
        UserError: an `outputs.npz` is damaged.
    """
    first, rows, reasons, found = groups[0], [], [], []
    for group in groups[1:]:
        name = f"{group.name} - {first.name}"
        try:
            found.append(difference(group, first))
            rows.append([name, *_row(found[-1])])
            reasons += _unlike(group, first)
        except NotPaired as reason:
            rows.append([name, "not paired", *[NOTHING] * (len(HEAD) - 1)])
            reasons.append(f"{name} is not paired: {reason}.")
    about = [OF_PICTURES, OF_SEEDS if any(one.welch for one in found) else NO_SEEDS, SEVERAL * (len(found) > 1)]
    parts = ["## Differences of top1 on the same pictures", table(["", *HEAD], rows)]
    return "\n\n".join([*parts, *reasons, *([" ".join(filter(None, about))] if found else [])])


def _row(found: Difference) -> list[str]:
    one, seeds = found.mcnemar, found.welch
    return [
        f"{found.over_pictures.estimate:+.5f}",
        _ends(found.over_pictures),
        f"{one.only_first} and {one.only_second}" if one else NOTHING,
        f"{one.p:.2g}" if one else NOTHING,
        _ends(seeds.difference) if seeds else NOTHING,
        f"{seeds.p:.2g}" if seeds else NOTHING,
    ]


def _ends(interval: Interval) -> str:
    return f"{interval.low:+.5f} to {interval.high:+.5f}"


def _unlike(group: Group, other: Group) -> list[str]:
    """Return a sentence if not all runs were evaluated with the same kind of weights in the same way."""
    kinds = {
        f"{found['weights']}{', with --flip' * found['flip']}"
        for run in (*group.runs, *other.runs)
        if run.evaluation and (found := kind(run.evaluation))
    }
    return (
        [f"{group.name} - {other.name} is of different things: {'; '.join(sorted(kinds))}."] if len(kinds) > 1 else []
    )


def _refuse_without_pictures(run: Run) -> None:
    if run.evaluation is None:
        raise NotPaired(f"{run.name} has no {filenames.EVALUATION}: run {_evaluate(run)}")
    if not (run.folder / filenames.OUTPUTS).exists():
        raise NotPaired(f"{run.name} has no {filenames.OUTPUTS}: run {_evaluate(run)}")
    if not pictures(run.evaluation)["archive_md5"]:
        raise NotPaired(f"{run.folder / filenames.EVALUATION} does not say which data it is of: run {_evaluate(run)}")
    if run.outdated:
        raise NotPaired(f"{run.folder / filenames.EVALUATION} is of former weights: run {_evaluate(run)}")


def _refuse_other_pictures(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        ours, theirs = pictures(run.evaluation or {}), pictures(first.evaluation or {})
        for name, value in ours.items():
            if value != theirs[name]:
                other = first if theirs["archive_holdout"] else run
                raise NotPaired(
                    f"{name} is {value} in {run.folder / filenames.EVALUATION}, but {theirs[name]} in "
                    f"{first.folder / filenames.EVALUATION}: evaluate both on the same pictures, as in "
                    f"{_evaluate(other)}{' -o data.file=FILE' * (name == 'archive_md5')}"
                )
        if not np.array_equal(_labels(run), _labels(first)):
            raise NotPaired(f"{run.name} and {first.name} number their classes differently")


def _evaluate(run: Run) -> str:
    name = kind(run.evaluation)["weights"] if run.evaluation else filenames.model(filenames.FINAL)
    of_test = data.has_test_set(run.settings["data.file"], run.settings["data.name"])
    on_test = ("-o", "data.holdout=0") if run.settings["data.holdout"] and of_test else ()
    return command("python", "eval.py", "--weights", run.folder / name, *on_test)


def _labels(run: Run) -> np.ndarray:
    return outputs.read(run.folder / filenames.OUTPUTS)[1]


def _correct(run: Run) -> np.ndarray:
    """Return which pictures a run has right, bool [N].

    Raises:
        UserError: the outputs are damaged, or not those of the evaluation.
    """
    file = run.folder / filenames.OUTPUTS
    logits, labels = outputs.read(file)
    noted = (run.evaluation or {}).get("provenance", {}).get("outputs_sha256")
    if noted != sha256sum(file):
        raise outputs.damaged(file, f"its SHA-256 is not the one in {filenames.EVALUATION}")
    return Predictions(logits, labels, logits).correct
