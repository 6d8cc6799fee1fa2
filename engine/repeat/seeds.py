"""The seeds of a repeated run: the folder and the config of each, and what it has reached so far."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import data
from data.download import md5sum
from engine import filenames
from engine.config.load import load_config
from engine.config.options import Config
from engine.errors import UserError
from engine.evaluation.runs import runs_in
from engine.history import read_history
from engine.output.folder import Output, read_environments
from engine.training import resume

OWN = {"train.seed": "--seeds has them", "output_dir": "each seed has a folder of its own in --output"}
ADVICE = "-o output_dir=NEW", "--output NEW"  # as train.py gives it, and as this command takes it


@dataclass(frozen=True)
class Seed:
    """One run: its number, its folder, and the config that `file` and `overrides` give."""

    number: int
    folder: Path
    file: Path
    overrides: tuple[str, ...]

    def config(self) -> Config:
        """Return the config of the run.

        Raises:
            ConfigError: the file, an override or the seed is wrong.
        """
        return load_config(self.file, self.overrides)

    def config_to_measure(self) -> Config:
        """Return the config to evaluate the run with: on the test set, whatever it validates on.

        A folder of pictures without val/ has no test set: it is evaluated on the held-out pictures.
        """
        config = self.config()
        if data.has_test_set(config.data.file, config.data.name):
            config.data.holdout = 0
        return config

    def is_done(self) -> bool:
        """Return whether the run has its final weights, and not only those of a former end that it has passed."""
        final, history = (self.folder / name for name in (filenames.model(filenames.FINAL), filenames.HISTORY))
        if not final.exists() or not history.exists() or final.stat().st_mtime < history.stat().st_mtime:
            return False
        return any(
            point.split == "val" and point.epoch >= self.config().train.epochs for point in read_history(history)
        )

    @property
    def log(self) -> Path:
        """The file of everything that the run's process prints."""
        return self.folder.with_name(f"{self.folder.name}.log")


def read_numbers(text: str) -> list[int]:
    """Return the numbers of `--seeds 1,2,3`.

    Raises:
        UserError: one is not a number, or given twice.
    """
    parts = [part.strip() for part in text.split(",")]
    for i, part in enumerate(parts):
        if not (part.isascii() and part.isdecimal()):
            _refuse(text, f"{part!r} is not a number: give seeds as in --seeds 1,2,3")
        if int(part) in map(int, parts[:i]):
            _refuse(text, f"{int(part)} is there twice: give each seed once")
    return [int(part) for part in parts]


def plan(file: Path, overrides: Sequence[str], numbers: Sequence[int], output: Path | None) -> tuple[Path, list[Seed]]:
    """Return the folder of all runs, and the runs.

    Args:
        output: that folder; by default the config's output_dir.

    Raises:
        UserError: the config is wrong, an override is for --seeds or --output, or the folder is itself that of a run.
    """
    for override in overrides:
        if (key := override.partition("=")[0].strip()) in OWN:
            raise UserError(f"-o {override}: with --seeds, leave it out: {OWN[key]}", key=key, value=override)
    folder = output or Path(load_config(file, overrides).output_dir)
    if (folder / filenames.CONFIG).exists():
        raise UserError(
            f"--output {folder}: holds a run itself: choose another folder for the runs of all seeds",
            key="--output",
            value=str(folder),
            place=folder,
        )
    seeds = [_seed(file, overrides, folder, number) for number in numbers]
    for seed in seeds:
        seed.config()
    return folder, seeds


def refuse_other_config(folder: Path, seeds: Sequence[Seed], extending: bool) -> None:
    """Compare config and archive with those of each run in the folder, one of the seeds or not, as `--resume` does.

    Raises:
        UserError: an option that affects results, or the content of the archive, differs.
    """
    md5 = _md5_of_archive(seeds[0].config())
    there = [
        _seed(seeds[0].file, seeds[0].overrides[:-2], folder, int(run.name.removeprefix(filenames.SEED)))
        for run in runs_in(folder)
        if run != folder
    ]
    for seed in {seed.number: seed for seed in (*seeds, *there)}.values():
        if Output(seed.folder).has_checkpoint():
            config = seed.config()
            resume.keep_split(seed.folder, config)
            with own_advice(seed.folder):
                resume.refuse_other_config_early(seed.folder, config, extending)
            _refuse_other_archive(seed.folder, config, md5)


def _md5_of_archive(config: Config) -> str | None:
    """Return the MD5 of a config's archive, None if it has none or it cannot be read."""
    try:
        return md5sum(config.data.file) if config.data.name in data.ARCHIVES else None
    except OSError:
        return None  # loading the data says why


def _refuse_other_archive(folder: Path, config: Config, md5: str | None) -> None:
    noted = {str(facts["data_md5"]) for facts in read_environments(folder) if facts.get("data_md5")}
    if md5 and noted - {md5}:
        raise UserError(
            f"{folder}: data.file: {config.data.file} is not what the run was trained on (MD5 {md5}, in "
            f"{folder / filenames.ENVIRONMENT} {', '.join(sorted(noted))}): give that archive, or start other runs "
            f"with {ADVICE[1]}",
            key="data.file",
            value=md5,
            place=folder,
        )


@contextlib.contextmanager
def own_advice(folder: Path) -> Iterator[None]:
    """A context in which train.py's errors name the folder, and give advice that fits this command."""
    try:
        yield
    except UserError as error:
        text = str(error).replace(*ADVICE)
        text = text.replace("output_dir:", "--output", 1) if error.key == "output_dir" else f"{folder}: {text}"
        raise UserError(text, key=error.key, value=error.value, place=error.place or folder) from error


def _seed(file: Path, overrides: Sequence[str], folder: Path, number: int) -> Seed:
    own = folder / f"{filenames.SEED}{number}"
    return Seed(number, own, file, (*overrides, f"train.seed={number}", f"output_dir={own.as_posix()}"))


def _refuse(text: str, problem: str) -> None:
    raise UserError(f"--seeds {text}: {problem}", key="--seeds", value=text)
