"""Evaluating the seeds of a repeated run, and the table of what they reach."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.words import counted
from engine import filenames
from engine.errors import UserError
from engine.evaluation.groups import worth
from engine.evaluation.markdown import table
from engine.evaluation.runs import read_evaluation
from engine.evaluation.saved import evaluate_weights
from engine.metrics.spread import Interval, over_seeds
from engine.repeat.seeds import Seed
from engine.system.atomic import replace_contents, sha256sum

OVER_PICTURES = "The interval of a seed is over pictures (Wilson's): what other pictures of their kind could change."
OVER_SEEDS = "That of the mean is over seeds (Student's t): what other seeds could change."
BEST_IS_HIGH = (
    "The best epoch was chosen on these very pictures, so these accuracies are too high: --weights final, or "
    "data.holdout, avoids that."
)


@dataclass(frozen=True)
class Measured:
    """A seed's evaluation, the content of its `eval.json`."""

    seed: Seed
    evaluation: dict[str, Any]


def measure(seed: Seed, weights: str) -> Measured:
    """Evaluate weights of a seed, `filenames.BEST` or `filenames.FINAL`, unless its `eval.json` is of just these.

    Raises:
        UserError, DataError: the weights or the data cannot be used.
    """
    file = seed.folder / filenames.model(weights)
    evaluation = _present(seed, file) or evaluate_weights(file, seed.config_to_measure(), seed.folder)
    assert evaluation  # only one of several processes returns none
    return Measured(seed, evaluation)


def write(folder: Path, measured: Sequence[Measured], weights: str, note: str) -> tuple[str, list[Path]]:
    """Write `repeat.md` and `repeat.json` into a folder; return the text and the paths.

    Args:
        note: a sentence on what the table lacks, or "".

    Raises:
        UserError: they cannot be written.
    """
    found = over_seeds([one.evaluation["top1"] for one in measured])
    text, numbers = _text(measured, found, weights, note), _numbers(measured, found, weights)
    files = [folder / filenames.REPEAT, folder / filenames.REPEAT_NUMBERS]
    contents = dict(zip(files, (text, json.dumps(numbers, indent=2, allow_nan=False) + "\n"), strict=True))
    try:
        replace_contents(contents)
    except OSError as error:
        raise UserError(
            f"--output {folder} cannot be written ({error}): make room, then run the same command again",
            key="--output",
            value=str(folder),
            place=folder,
        ) from error
    return text, files


def _present(seed: Seed, weights: Path) -> dict[str, Any] | None:
    """Return the content of a seed's `eval.json` if a new evaluation could only repeat it, else None."""
    try:
        found = read_evaluation(seed.folder) or {}
        digests = {name: sha256sum(file) for name, file in _digested(seed, weights).items()}
    except (UserError, OSError):
        return None  # it is written again
    chosen, noted = seed.config_to_measure().data, found.get("provenance", {})
    held_out = chosen.holdout or None  # an evaluation on the test set does not note it
    wanted = {**digests, "archive_name": chosen.name, "archive": chosen.file, "archive_holdout": held_out}
    same = all(noted.get(name) == value for name, value in wanted.items())
    return found if same and not found.get("flip") else None


def _digested(seed: Seed, weights: Path) -> dict[str, Path]:
    return {"weights_sha256": weights, "outputs_sha256": seed.folder / filenames.OUTPUTS}


def _text(measured: Sequence[Measured], found: Interval, weights: str, note: str) -> str:
    first, values = measured[0].evaluation, [one.evaluation["top1"] for one in measured]
    rows = [
        [str(one.seed.number), f"{one.evaluation['top1']:.5f}", _ends(*one.evaluation["top1_interval"])]
        for one in measured
    ]
    known = not math.isnan(found.low)
    rows.append(["mean", f"{found.estimate:.5f}", _ends(found.low, found.high) if known else "-"])
    rows.append(["deviation (n - 1)", f"{np.std(values, ddof=1):.5f}" if known else "-", ""])
    of = f"`{filenames.model(weights)}` on {counted(first['images'], 'picture')} ({first['split']})."
    parts = [
        f"# {counted(len(measured), 'seed')} of `{measured[0].seed.file.as_posix()}`",
        of,
        table(["seed", "top1", "95 % interval"], rows),
        " ".join([OVER_PICTURES, *([OVER_SEEDS] if known else []), worth(len(measured))]),
    ]
    if weights == filenames.BEST and not measured[0].seed.config().data.holdout:
        parts.append(BEST_IS_HIGH)
    return "\n\n".join([*parts, *filter(None, [note])]) + "\n"


def _ends(low: float, high: float) -> str:
    return f"{low:.5f} to {high:.5f}"


def _numbers(measured: Sequence[Measured], found: Interval, weights: str) -> dict[str, Any]:
    """Return the table as plain values; what one seed does not tell is None."""
    first, values = measured[0].evaluation, [one.evaluation["top1"] for one in measured]
    known = not math.isnan(found.low)
    return {
        "config": measured[0].seed.file.as_posix(),
        "weights": filenames.model(weights),
        "split": first["split"],
        "images": first["images"],
        "seeds": [
            {
                "seed": one.seed.number,
                "top1": one.evaluation["top1"],
                "interval": list(one.evaluation["top1_interval"]),
                "weights_sha256": one.evaluation["provenance"]["weights_sha256"],
            }
            for one in measured
        ],
        "mean": found.estimate,
        "deviation": float(np.std(values, ddof=1)) if known else None,
        "interval": [found.low, found.high] if known else None,
    }
