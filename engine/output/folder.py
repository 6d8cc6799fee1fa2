"""The output folder of a run: what belongs to it, who may write into it, and what was there before."""

import json
import shutil
from pathlib import Path

from engine import filenames
from engine.config.load import dump_config
from engine.errors import UserError
from engine.output import checkpoints
from engine.system import atomic
from engine.system.environment import environment
from engine.system.lock import Lock


class Output:
    """An output folder, which need not exist yet.

    Raises:
        UserError: in all methods: the folder cannot be used, with the reason.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def check(self, overwrite=False):
        """Refuse a folder that holds a run, unless that may be replaced or has learned nothing yet."""
        old_run = self._present(filenames.RUN)
        if old_run and not overwrite and (self._has_learned() or not self._present([filenames.CONFIG])):
            raise UserError(
                f"output_dir: {self.folder} already holds a run ({old_run[0].name}): choose another with "
                "-o output_dir=NEW, go on with it by --resume, or replace it with --overwrite"
            )

    def check_resumable(self):
        """Refuse a folder without checkpoints."""
        if not self.has_checkpoint():
            raise UserError(f"--resume {self.folder}: no checkpoint to go on from: start with -c CONFIG")

    def has_checkpoint(self):
        """Whether there is something to go on from."""
        return bool(checkpoints.Checkpoints(self.folder).candidates())

    def lock(self):
        """Return the lock of the folder, which is created where it is missing."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return Lock(self.folder)
        except OSError as error:
            raise self._unusable(error) from error

    def put_old_run_aside(self):
        """Move a run's files into `replaced`, in place of those there; one that has learned nothing is removed."""
        try:
            old_run, moving = self._present(filenames.RUN), self.folder / f".{filenames.REPLACED}"
            if self._has_learned() or moving.exists():  # some of it may have been moved before
                moving.mkdir(exist_ok=True)
                for file in old_run:
                    file.rename(moving / file.name)
                shutil.rmtree(self.folder / filenames.REPLACED, ignore_errors=True)
                moving.rename(self.folder / filenames.REPLACED)
                return
            for file in old_run:
                if file.is_dir() and not file.is_symlink():
                    shutil.rmtree(file)
                else:
                    file.unlink()
        except OSError as error:
            raise self._unusable(error) from error

    def describe(self, config, device, dataset, origin):
        """Write the resolved config and what the run is made on; what it was made on before stays listed.

        Args:
            dataset: the config's data, of which identity and names of the classes are noted.
            origin: what to note of the weights that a new run starts from, a flat dict of plain values.

        Returns:
            what it is made on now, as a flat dict of plain values.
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
        noted = here
        if isinstance(before, dict):
            noted = {**before, "resumed_on": [*before.get("resumed_on", []), here]}
        try:
            atomic.replace_text(self.folder / filenames.CONFIG, dump_config(config))
            atomic.replace_text(file, json.dumps(noted, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise self._unusable(error) from error
        return _flat(here)

    def _has_learned(self):
        return bool(self._present(filenames.MODELS)) or checkpoints.Checkpoints(self.folder).has_learned()

    def _present(self, names):
        try:
            return [self.folder / name for name in names if (self.folder / name).exists()]
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error):
        return UserError(f"output_dir: {self.folder} cannot be written ({error}): choose another")


def read_environments(folder):
    """Return what a run was begun and then resumed on, as flat dicts of plain values; [] where that is not known."""
    try:
        begun = json.loads((folder / filenames.ENVIRONMENT).read_text(encoding="utf-8"))
        return [_flat(noted) for noted in (begun, *begun.get("resumed_on", []))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _flat(environment):
    flat = {key: value for key, value in environment.items() if key not in ("archive", "resumed_on")}
    return flat | {f"data_{key}": value for key, value in environment["archive"].items() if key != "classes"}
