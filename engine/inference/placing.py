"""Where an export is put: into an empty folder, or in place of the same kind of export."""

import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from engine import filenames
from engine.errors import UserError
from engine.inference import program
from engine.system import atomic

OF_ANY = (filenames.CONFIG, *filenames.PADDLE_PROGRAMS, *filenames.EXPORTED_WEIGHTS.values())


def files_to_replace(folder: Path, task: str, format: str, precision: str, names: Iterable[str] = ()) -> list[str]:
    """Return the names of the files of the export in a folder.

    Args:
        names: of files that an export of this kind has beside those of any export.

    Raises:
        UserError: the folder holds an export of another kind, or one of these files without an export.
    """
    if not (folder / filenames.DESCRIPTION).exists():
        for name in (*OF_ANY, *names):
            if (folder / name).exists():
                raise UserError(
                    f"--output {folder}: its {name} does not belong to an export: choose another folder",
                    key="--output",
                    value=name,
                    place=folder,
                )
        return []
    try:
        before = program.read(folder)
    except UserError:  # damaged: replace it
        return []
    for there, wanted, what in (
        (before["format"], format, f"an export in the format {before['format']}"),
        (program.precision_of(before), precision, f"an export in the precision {program.precision_of(before)}"),
        (program.task_of(before), task, f"an export for {program.task_of(before)}"),
    ):
        if there != wanted:
            raise UserError(
                f"--output {folder}: holds {what}: choose another folder", key="--output", value=there, place=folder
            )
    return list(before["files"])


def put(made: Path, output: Path, before: list[str]) -> list[Path]:
    """Move an export's files into their folder, and remove what only the previous export had; return the files."""
    # The description first: if the process is killed in between, the folder is recognized as a damaged export.
    files = sorted(made.iterdir(), key=lambda file: (file.name != filenames.DESCRIPTION, file.name))
    atomic.replace({output / file.name: partial(shutil.copyfile, file) for file in files})
    for name in set(before) - {file.name for file in files}:  # programs of Paddle 2.6 and 3.x have different names
        (output / name).unlink(missing_ok=True)
    return [output / file.name for file in files]
