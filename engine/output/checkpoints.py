"""Checkpoints to resume from: at any instant at least one whole, consistent set is on disk.

A checkpoint is a folder `checkpoints/epoch_0003_step_00002343` with weights, optimizer, the rest of the run's state,
and a manifest with each file's size and SHA-256. It is written under another name, synced and renamed, so it exists
whole or not at all. In the output folder, `latest.pdparams`, `latest.pdopt`, `latest.pdstates` and `latest.json` are
hard links to the files of the newest one.
"""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import paddle

from common.windows import WINDOWS, move, remedy
from engine import filenames
from engine.system.atomic import sha256sum, size, sync
from engine.weights.pdparams import CheckpointError, load

HIDDEN = "."  # begins the name of a folder that is not yet a checkpoint, or no longer one
DAMAGED = "damaged_"


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: the run's output folder.
        keep: how many of the newest to keep.
        about: everything that affects the run's results, for a resume: a dict of plain values.
    """

    def __init__(self, folder: str | Path, keep: int = 1, about: dict[str, Any] | None = None):
        self.output, self.folder = Path(folder), Path(folder) / filenames.CHECKPOINTS
        self.keep, self.about = keep, about or {}

    def save(self, weights: dict, optimizer: dict, rest: dict, *, epoch: int, step: int, prefix: str = "") -> None:
        """Write a checkpoint and drop the oldest ones. One with a prefix is never resumed from and never dropped.

        Args:
            weights, optimizer: state dicts of tensors.
            rest: a dict of numbers, text, arrays and containers of these.
            epoch, step: epochs and steps done; they give the name.

        Raises:
            CheckpointError: the disk refuses it; older files stay.
        """
        target = self.folder / f"{prefix}epoch_{epoch:04}_step_{step:08}"
        try:
            if not target.exists() or _damage(target):
                self._write(target, (weights, optimizer, rest))
            if not prefix:
                self._name_latest(target)
                self._drop_others(target)
        except OSError as error:
            raise CheckpointError(
                f"{target} cannot be written ({error}): {remedy(error)}; older files are whole", place=target
            ) from error

    def all(self) -> list[Path]:
        """Return the folders of the checkpoints, newest first."""
        folders = self.folder.glob("epoch_*_step_*")
        return sorted(folders, key=lambda folder: [int(part) for part in folder.name.split("_")[1::2]], reverse=True)

    def candidates(self) -> list[Path]:
        """Return the folders to resume from, newest first; without any, the output folder if it has `latest.*`."""
        return self.all() or [self.output] * (self.output / filenames.MANIFEST).exists()

    def has_learned(self) -> bool:
        """Return whether any checkpoint, even a damaged or diverged one, has seen a step."""
        folders = list(self.folder.glob("[!.]*_step_*"))
        only_latest = not folders and (self.output / filenames.MANIFEST).exists()
        return only_latest or any(not folder.name.endswith(f"_step_{0:08}") for folder in folders)

    def newest(self) -> tuple[Path, list[str]]:
        """Return the folder of the newest whole checkpoint, and a description of the damage to each newer one.

        Raises:
            CheckpointError: there is no checkpoint, or all are damaged.
        """
        damage: list[str] = []
        for candidate in self.candidates():
            wrong = _damage(candidate)
            if not wrong:
                return candidate, damage
            damage.append(wrong)
        if damage:
            raise CheckpointError(
                f"{self.folder} has no whole checkpoint: {'; '.join(damage)}; "
                "copy back a whole one, or start another run with -o output_dir=NEW",
                place=self.folder,
            )
        raise CheckpointError(
            f"{self.output} holds no checkpoint to resume from: start a run with -c CONFIG", place=self.output
        )

    def read_about(self) -> dict[str, Any] | None:
        """Return `about` of the newest readable checkpoint, without reading its weights; None if there is none."""
        for candidate in self.candidates():
            with contextlib.suppress(CheckpointError):
                return load(candidate / filenames.REST).get("about")
        return None

    def name_latest(self, checkpoint: Path) -> None:
        """Let `latest.*` name a checkpoint's files.

        Raises:
            CheckpointError: the disk refuses it.
        """
        try:
            self._name_latest(checkpoint)
        except OSError as error:
            raise CheckpointError(
                f"{self.output} cannot be written ({error}): {remedy(error)}", place=self.output
            ) from error

    def _write(self, target: Path, states: tuple[dict, dict, dict]) -> None:
        for left_behind in self.folder.glob(f"{HIDDEN}*"):  # by a kill
            shutil.rmtree(left_behind, ignore_errors=True)
        unfinished = self.folder / f"{HIDDEN}new_{target.name}"
        try:
            unfinished.mkdir(parents=True)
            sync(self.output)
            for name, state in zip(filenames.STATES, states, strict=True):
                paddle.save(state, str(unfinished / name))
            manifest = {name: _measure(unfinished / name) for name in filenames.STATES}
            text = json.dumps(manifest, indent=2) + "\n"
            (unfinished / filenames.MANIFEST).write_text(text, encoding="utf-8", newline="\n")
            for file in (*(unfinished / name for name in filenames.CHECKPOINT), unfinished):
                sync(file)
            if target.exists():
                _put_aside(target)
            move(unfinished, target)
            sync(self.folder)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def _drop_others(self, newest: Path) -> None:
        for newer in self.all()[: self.all().index(newest)]:  # damaged, or the run would have resumed from it
            _put_aside(newer)
        for old in self.all()[self.keep :]:
            _remove(old)

    def _name_latest(self, target: Path) -> None:
        for name in filenames.CHECKPOINT:
            temporary = self.output / f".{name}.tmp"
            temporary.unlink(missing_ok=True)
            try:
                os.link(target / name, temporary)
            except OSError:  # a file system without hard links
                shutil.copyfile(target / name, temporary)
            move(temporary, self.output / name)
            temporary.unlink(missing_ok=True)  # `move` leaves it if both names are of one file already


def _damage(folder: Path) -> str | None:
    """Return a short description of a checkpoint's damage, or None."""
    try:
        files = json.loads((folder / filenames.MANIFEST).read_text(encoding="utf-8"))
        for name in filenames.STATES:
            if _measure(folder / name) != files[name]:
                return f"{folder / name} is not what was saved (size or SHA-256 differs)"
    except OSError as error:
        return f"{error.filename or folder} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError):
        return f"{folder / filenames.MANIFEST} is damaged"
    return None


def _measure(file: Path) -> dict[str, int | str]:
    return {"bytes": size(file), "sha256": sha256sum(file)}


def _put_aside(damaged: Path) -> None:
    aside = damaged.with_name(DAMAGED + damaged.name)
    shutil.rmtree(aside, ignore_errors=True)
    move(damaged, aside)


def _remove(folder: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that no checkpoint ever lacks a file."""
    doomed = folder.with_name(f"{HIDDEN}old_{folder.name}")
    try:
        move(folder, doomed)
    except PermissionError:  # Windows: somebody reads it. It stays until the next one is saved
        if not WINDOWS:
            raise
        return
    shutil.rmtree(doomed, ignore_errors=WINDOWS)
