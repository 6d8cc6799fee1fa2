"""The output folder of a run: its files, who may write there, and what happens to an earlier run."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.shell import command
from common.windows import WINDOWS, move
from data import Dataset
from engine import filenames
from engine.config.load import dump_config
from engine.config.options import Config
from engine.errors import UserError
from engine.output.checkpoints import Checkpoints
from engine.output.log import Records
from engine.system import atomic
from engine.system.environment import environment
from engine.system.lock import Lock


class Output:
    """An output folder, which need not exist yet. All methods raise a UserError if the folder cannot be used."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def check(self, overwrite: bool = False) -> None:
        """Refuse a folder that holds a run, unless it may be replaced or has learned nothing yet."""
        old_run = self._present(filenames.RUN)
        if old_run and not overwrite and (self._has_learned() or not self._present([filenames.CONFIG])):
            raise UserError(
                f"output_dir: {self.folder} already holds a run ({old_run[0].name}): choose another with "
                "-o output_dir=NEW, continue the run with --resume, or replace it with --overwrite",
                key="output_dir",
                value=str(self.folder),
                place=old_run[0],
            )

    def check_resumable(self) -> None:
        """Refuse a folder without checkpoints, and a file or checkpoint of a run instead of its folder."""
        if run := self._run_around():
            raise UserError(
                f"--resume {self.folder}: part of a run: give the folder of the run, {command('--resume', run)}, to "
                "continue from its newest checkpoint",
                key="--resume",
                value=str(self.folder),
                place=run,
            )
        if not self.has_checkpoint():
            below = sorted({str(file.parent) for file in self.folder.glob(f"*/{filenames.CHECKPOINTS}")})
            instead = f"give one of {', '.join(below[:4])}, or " if below else ""
            raise UserError(
                f"--resume {self.folder}: no checkpoint to resume from: {instead}start a run with -c CONFIG",
                key="--resume",
                value=str(self.folder),
                place=self.folder,
            )

    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint to resume from."""
        return bool(Checkpoints(self.folder).candidates())

    def _run_around(self) -> Path | None:
        """Return the folder of the run that this path is a file, a checkpoint or the folder of checkpoints of."""
        for folder in reversed(list(self.folder.parents)[:3]):  # a checkpoint alone looks like a run of old
            first, *others = self.folder.relative_to(folder).parts
            inside = first == filenames.CHECKPOINTS or not (others or self.folder.is_dir())
            if inside and self.folder.exists() and Checkpoints(folder).candidates():
                return folder
        return None

    def lock(self) -> Lock:
        """Return the lock of the folder, which is created if it is missing."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return Lock(self.folder)
        except OSError as error:
            raise self._unusable(error) from error

    def put_old_run_aside(self) -> None:
        """Move a run's files into `replaced`, where they replace those of an earlier one.

        A run that has learned nothing is removed instead.
        """
        try:
            old_run, moving = self._present(filenames.RUN), self.folder / f".{filenames.REPLACED}"
            if self._has_learned() or moving.exists():  # a kill may have cut an earlier move short
                moving.mkdir(exist_ok=True)
                _move_all(old_run, moving)
                shutil.rmtree(self.folder / filenames.REPLACED, ignore_errors=True)
                move(moving, self.folder / filenames.REPLACED)
                return
            for file in old_run:
                if file.is_dir() and not file.is_symlink():
                    shutil.rmtree(file)
                else:
                    file.unlink()
        except OSError as error:
            raise self._unusable(error) from error

    def describe(self, config: Config, device: str, dataset: Dataset, origin: dict) -> dict[str, Any]:
        """Write the resolved config, and add the present machine, versions and data to `environment.json`.

        `origin` is the provenance of the weights that a new run starts from. Returns the present environment as a flat
        dict of plain values.
        """
        file = self.folder / filenames.ENVIRONMENT
        here = {
            **environment(device),
            **origin,
            "archive": {  # or the folder
                "name": config.data.name,
                "file": config.data.file,
                "md5": dataset.md5,
                "official": dataset.official,
                "classes": dataset.classes,
            },
        }
        try:
            before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        except (OSError, ValueError):
            before = None
        content = here
        if isinstance(before, dict):
            content = {**before, "resumed_on": [*before.get("resumed_on", []), here]}
        try:
            atomic.replace_text(self.folder / filenames.CONFIG, dump_config(config))
            atomic.replace_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise self._unusable(error) from error
        return _flat(here)

    def records(self, config: dict, provenance: dict, position: dict[str, Any] | None = None) -> Records:
        """Open the records of a run; see `Records`."""
        try:
            return Records(self.folder, config, provenance, position)
        except OSError as error:
            raise self._unusable(error) from error

    def _has_learned(self) -> bool:
        learned = self._present([*filenames.MODELS, *filenames.EXPORTS])
        return bool(learned) or Checkpoints(self.folder).has_learned()

    def _present(self, names: Iterable[str]) -> list[Path]:
        try:
            return [self.folder / name for name in names if (self.folder / name).exists() and self._of_a_run(name)]
        except OSError as error:
            raise self._unusable(error) from error

    def _of_a_run(self, name: str) -> bool:
        """Return whether a file that has the name of a run's is one; a folder for exports may hold something else."""
        if name not in filenames.EXPORTS:
            return True
        return (self.folder / name / filenames.EXPORTED_WEIGHTS[filenames.EXPORTS[name]]).exists()

    def _unusable(self, error: OSError) -> UserError:
        closing = "close the programs that have its files open, such as VisualDL, or " * WINDOWS
        return UserError(
            f"output_dir: {self.folder} cannot be written ({error}): {closing}choose another",
            key="output_dir",
            value=str(self.folder),
            place=self.folder,
        )


def _move_all(files: list[Path], folder: Path) -> None:
    """Move files into a folder; if one cannot be moved, as on Windows while a program reads it, none is."""
    moved: list[Path] = []
    try:
        for file in files:
            move(file, folder / file.name)
            moved.append(file)
    except OSError:
        for file in reversed(moved):
            move(folder / file.name, file)
        raise


def read_environments(folder: Path) -> list[dict[str, Any]]:
    """Return the environments that a run was begun and then resumed in, as flat dicts; [] if they are not known."""
    try:
        begun = json.loads((folder / filenames.ENVIRONMENT).read_text(encoding="utf-8"))
        return [_flat(environment) for environment in (begun, *begun.get("resumed_on", []))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _flat(environment: dict) -> dict[str, Any]:
    flat = {key: value for key, value in environment.items() if key not in ("archive", "resumed_on")}
    return flat | {f"data_{key}": value for key, value in environment["archive"].items() if key != "classes"}
