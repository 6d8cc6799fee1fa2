"""Resuming a run: restore its state from the newest checkpoint, and refuse changes that affect its results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.words import counted
from data import FOLDER
from engine import filenames
from engine.config.load import flatten
from engine.config.options import Config, options
from engine.errors import UserError
from engine.output.checkpoints import Checkpoints
from engine.output.folder import read_environments
from engine.system import processes
from engine.training.state import State, follow_new_cosine, restore
from engine.weights.pdparams import load
from models import native

HOLDOUT_SPLIT = "data.holdout_split"


def restore_newest(state: State, checkpoints: Checkpoints, extending: bool) -> tuple[list[str], dict[str, Any]]:
    """Restore a new state from the newest whole checkpoint.

    Returns lines for the log, and what the checkpoint holds beside weights and optimizer.

    Raises:
        UserError: there is no whole checkpoint, or the checkpoint's run computes something else.
    """
    found, damage = checkpoints.newest()
    saved, now = load(found / filenames.REST), checkpoints.about
    _refuse_changes(saved["about"], now, extending)
    restore(state, found)
    if processes.rank() == 0:
        checkpoints.name_latest(found)  # a kill may have prevented it
    if saved["about"]["config"]["train.epochs"] != now["config"]["train.epochs"]:
        follow_new_cosine(state)
    warnings = [f"WARNING: {wrong}; the checkpoint before it is used" for wrong in damage]
    done = f"Resumed from {found}: {counted(state.epoch, 'epoch')} and "
    done += f"{counted(state.iteration, 'step')} of the next one are done"
    if state.epoch == now["config"]["train.epochs"]:
        done += "; nothing is left to do: for more epochs, use -o train.epochs=N --extend"
    return [*warnings, done], saved


def changed_libraries(saved: Mapping[str, Any], output: Path, now: Mapping[str, str]) -> list[str]:
    """Return a warning that names all libraries of other versions than those a checkpoint was written with, or [].

    Args:
        saved: what the checkpoint holds beside weights and optimizer.
        output: the run's folder; older checkpoints do not know their libraries, and those of the last resume count.
        now: the present versions, by name.
    """
    before = saved["about"].get("libraries") or (read_environments(output) or [{}])[-1]
    if before:
        before = {"kernels": native.PADDLES, **before}  # older runs had no others
    changed = [name for name in now if before.get(name, now[name]) != now[name]]  # older runs do not note all of them
    if not changed:
        return []
    then, now_on = (", ".join(f"{name} {versions[name]}" for name in changed) for versions in (before, now))
    return [
        f"the checkpoint was written with {then}, and the run goes on with {now_on}: its numbers may differ from those "
        "of a run without this change"
    ]


def keep_split(output: Path, config: Config) -> list[str]:
    """Let the run validate on the pictures that it was started with, whatever its config says now.

    Runs older than `data.holdout_split` were split as its default says, and a config on a shipped one says otherwise.
    Returns a warning if that changes what is held out.
    """
    about = Checkpoints(output).read_about()
    split = about["config"].get(HOLDOUT_SPLIT, options()[HOLDOUT_SPLIT].default) if about else config.data.holdout_split
    if split == config.data.holdout_split:
        return []
    config.data.holdout_split = split
    return [f"{HOLDOUT_SPLIT}: {split} is kept, as the run was started with it"] if config.data.holdout else []


def refuse_other_config_early(output: Path, config: Config, extending: bool) -> None:
    """Compare the config with that of the newest readable checkpoint, without reading any weights.

    Raises:
        UserError: an option that affects results differs.
    """
    if about := Checkpoints(output).read_about():
        _refuse_other_config(about["config"], flatten(config), extending)


def _refuse_other_config(saved: dict, now: dict, extending: bool) -> None:
    known = options()
    for key, value in now.items():
        before = saved.get(key, known[key].default)  # a run older than the option behaved as its default
        not_counted_yet = key == "model.num_classes" and value == 0
        if before == value or known[key].metadata["free"] or not_counted_yet:
            continue
        if key == "train.epochs" and value > before:
            if extending:
                continue
            raise UserError(
                f"train.epochs: {value}, but the run and its learning rate were planned for {before}: "
                "--extend stretches the cosine over the longer run",
                key=key,
                value=value,
            )
        raise UserError(
            f"{key}: {value}, but the run was started with {before}, which affects its results: "
            f"use {key}={before}, or start another run with -o output_dir=NEW",
            key=key,
            value=value,
        )


def _refuse_changes(saved: dict, now: dict, extending: bool) -> None:
    _refuse_other_config(saved["config"], now["config"], extending)
    if saved["archive"] != now["archive"]:
        file = now["config"]["data.file"]
        of_folder = ": a picture was added, removed or changed" if now["config"]["data.name"] == FOLDER else ""
        raise UserError(
            f"data.file: {file} is not the data that the run was started with "
            f"(MD5 {saved['archive']}, not {now['archive']}{of_folder}): use the same data",
            key="data.file",
            value=file,
            place=file,
        )
    if saved["processes"] != now["processes"]:
        raise UserError(
            f"{counted(now['processes'], 'process', 'processes')}, but the run was started with "
            f"{saved['processes']}, which affects its results: launch as many",
            key="processes",
            value=now["processes"],
        )
