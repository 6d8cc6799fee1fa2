"""Runs as read from their output folders."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from engine import filenames
from engine.config.load import flatten, load_config
from engine.errors import UserError
from engine.history import Point, last_of_each_epoch, read_history
from engine.system.atomic import sha256sum

MISSING = "missing"  # not noted by that run


@dataclass(frozen=True)
class Run:
    """A run as read from its output folder. It may still be in progress.

    Attributes:
        folder: where it was read.
        settings: {name: value}, from the flattened config and the run's environment.
        epochs: how many are planned. done: how many are done.
        steps: optimizer steps per epoch, 0 until the first epoch is done.
        evaluation: the content of `eval.json`, or None.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    epochs: int
    points: list[Point]
    done: int
    steps: float
    evaluation: dict[str, Any] | None

    @cached_property
    def outdated(self) -> bool:
        """Whether `eval.json` is of other weights than the folder now has, as after more training."""
        noted = self.evaluation or {}
        file, digest = (
            self.folder / Path(str(noted.get("weights"))).name,
            noted.get("provenance", {}).get("weights_sha256"),
        )
        return digest is not None and file.is_file() and sha256sum(file) != digest

    def curve(self, split: str, quantity: str) -> tuple[list[float], list[float]]:
        """Return (epochs, values) of `loss` or `top1`, both empty until an epoch is done."""
        points = [point for point in self.points if point.split == split and self.done]
        if quantity == "top1":
            points = last_of_each_epoch(point for point in points if point.epoch <= self.done)
        return [point.step / self.steps for point in points], [getattr(point, quantity) for point in points]


def read_runs(folders: Iterable[str | Path]) -> list[Run]:
    """Read the runs in output folders; the folder of a `tools/repeat.py` stands for the runs of all its seeds.

    A run is named by its folder, or by its path if that name is not unique.

    Raises:
        UserError: there are fewer than two folders, or one is given twice, holds no run, or is damaged.
    """
    paths = [path for folder in folders for path in runs_in(Path(folder))]
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


def runs_in(folder: Path) -> list[Path]:
    """Return the runs' folders in that of a `tools/repeat.py`, by seed; of any other folder, the folder itself."""
    found = {file.parent for file in folder.glob(f"{filenames.SEED}[0-9]*/{filenames.CONFIG}")}
    numbered = {int(number): path for path in found if (number := path.name.removeprefix(filenames.SEED)).isdecimal()}
    if not numbered or (folder / filenames.CONFIG).exists():
        return [folder]
    return [numbered[seed] for seed in sorted(numbered)]


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
        folder=folder,
        settings={**flatten(config), **_made_on(folder / filenames.ENVIRONMENT)},
        epochs=config.train.epochs,
        points=points,
        done=last.epoch if last else 0,
        steps=last.step / last.epoch if last else 0,
        evaluation=read_evaluation(folder),
    )


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """Return the content of `eval.json` in a folder, None if there is none.

    Raises:
        UserError: it is damaged.
    """
    return _read_json(folder / filenames.EVALUATION, top1=float, split=str)


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
