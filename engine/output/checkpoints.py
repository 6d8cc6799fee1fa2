"""Checkpoints to resume from: at any instant at least one whole, consistent set is on disk.

A checkpoint is a folder `checkpoints/epoch_0003_step_00002343` with weights, optimizer, the rest of the run's state,
and a manifest with each file's size and SHA-256. It is made under another name, synced, and renamed: it is there whole
or not at all. `latest.pdparams`, `latest.pdopt`, `latest.pdstates` and `latest.json` beside it are second names (hard
links) of the newest one's files.
"""

import contextlib
import json
import os
import shutil
from pathlib import Path

import paddle

from engine import filenames
from engine.system.atomic import sha256sum, size, sync
from engine.weights.pdparams import CheckpointError, load

HIDDEN = "."  # how names of folders begin that are no checkpoints yet, or no longer
DAMAGED = "damaged_"


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: the run's output folder.
        keep: how many of the newest to keep.
        about: what decides the run's numbers, for whoever goes on with it: a dict of plain values.
    """

    def __init__(self, folder, keep=1, about=None):
        self.output, self.folder, self.keep, self.about = (
            Path(folder),
            Path(folder) / filenames.CHECKPOINTS,
            keep,
            about,
        )

    def save(self, weights, optimizer, rest, *, epoch, step, prefix=""):
        """Write a checkpoint and drop those that are too many. With a prefix it is never resumed from nor dropped.

        Args:
            weights, optimizer: state dicts of tensors.
            rest: a dict of numbers, text, arrays and containers of these.
            epoch, step: epochs and steps done; they give the name.

        Raises:
            CheckpointError: the disk refuses it; what was there before stays.
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
                f"{target} cannot be written ({error}): free some space; older files are whole"
            ) from error

    def all(self):
        """Return the folders of the checkpoints, newest first."""
        folders = self.folder.glob("epoch_*_step_*")
        return sorted(folders, key=lambda folder: [int(part) for part in folder.name.split("_")[1::2]], reverse=True)

    def candidates(self):
        """Return the folders to go on from, newest first; where there is none, `latest.*` may be left of one."""
        return self.all() or [self.output] * (self.output / filenames.MANIFEST).exists()

    def has_learned(self):
        """Whether any checkpoint, damaged or of a run that diverged, has seen a step."""
        folders = list(self.folder.glob("[!.]*_step_*"))
        left = not folders and (self.output / filenames.MANIFEST).exists()
        return left or any(not folder.name.endswith(f"_step_{0:08}") for folder in folders)

    def newest(self):
        """Return the folder of the newest whole checkpoint and, for each damaged one before it, what is wrong.

        Raises:
            CheckpointError: there is no checkpoint, or all are damaged.
        """
        damage = []
        for candidate in self.candidates():
            wrong = _damage(candidate)
            if not wrong:
                return candidate, damage
            damage.append(wrong)
        if damage:
            raise CheckpointError(
                f"{self.folder} has no whole checkpoint: {'; '.join(damage)}; "
                "copy back a whole one, or start anew with -o output_dir=NEW"
            )
        raise CheckpointError(f"{self.output} holds no checkpoint to resume from: start with -c CONFIG")

    def read_about(self):
        """Return `about` of the newest checkpoint that can be read, which takes no time; None where there is none."""
        for candidate in self.candidates():
            with contextlib.suppress(CheckpointError):
                return load(candidate / filenames.REST).get("about")
        return None

    def name_latest(self, checkpoint):
        """Make `latest.*` the second names of a checkpoint's files.

        Raises:
            CheckpointError: the disk refuses it.
        """
        try:
            self._name_latest(checkpoint)
        except OSError as error:
            raise CheckpointError(f"{self.output} cannot be written ({error}): free some space") from error

    def _write(self, target, states):
        for left_behind in self.folder.glob(f"{HIDDEN}*"):  # by a kill
            shutil.rmtree(left_behind, ignore_errors=True)
        unfinished = self.folder / f"{HIDDEN}new_{target.name}"
        try:
            unfinished.mkdir(parents=True)
            sync(self.output)
            for name, state in zip(filenames.STATES, states, strict=True):
                paddle.save(state, str(unfinished / name))
            manifest = {name: _measure(unfinished / name) for name in filenames.STATES}
            (unfinished / filenames.MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            for file in (*(unfinished / name for name in filenames.CHECKPOINT), unfinished):
                sync(file)
            if target.exists():
                _put_aside(target)
            os.rename(unfinished, target)
            sync(self.folder)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def _drop_others(self, newest):
        for newer in self.all()[: self.all().index(newest)]:  # damaged, or the run would have gone on from it
            _put_aside(newer)
        for old in self.all()[self.keep :]:
            _remove(old)

    def _name_latest(self, target):
        for name in filenames.CHECKPOINT:
            temporary = self.output / f".{name}.tmp"
            temporary.unlink(missing_ok=True)
            try:
                os.link(target / name, temporary)
            except OSError:  # a file system without hard links
                shutil.copyfile(target / name, temporary)
            os.replace(temporary, self.output / name)
            temporary.unlink(missing_ok=True)  # it stays where both are names of one file already


def _damage(folder):
    """Return what is wrong with a checkpoint in a few words, or None."""
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


def _measure(file):
    return {"bytes": size(file), "sha256": sha256sum(file)}


def _put_aside(damaged):
    aside = damaged.with_name(DAMAGED + damaged.name)
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(damaged, aside)


def _remove(folder):
    """Remove a checkpoint; it is none any more before the first of its files is gone."""
    doomed = folder.with_name(f"{HIDDEN}old_{folder.name}")
    os.rename(folder, doomed)
    shutil.rmtree(doomed)
