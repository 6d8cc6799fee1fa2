"""A config trained with several seeds and evaluated, resumable as one thing."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from common.errors import InputError
from engine.config.build import download_missing
from engine.errors import Stopped, UserError
from engine.evaluation.runs import runs_in
from engine.output.folder import Output
from engine.repeat import measure
from engine.repeat.seeds import Seed, own_advice, plan, refuse_other_config
from engine.repeat.train import train_all


def repeat(
    file: Path,
    overrides: Sequence[str],
    numbers: Sequence[int],
    output: Path | None,
    *,
    processes: int,
    weights: str,
    extending: bool,
    again: str,
) -> None:
    """Train a config with each seed, evaluate each, print and write the table. What is done already is kept.

    Args:
        file, overrides: the config, as `load_config` takes it.
        output: the folder of all runs; by default the config's output_dir.
        processes: how many train at a time.
        weights: which are evaluated, `filenames.BEST` or `filenames.FINAL`.
        extending: allow more epochs than the runs were planned for.
        again: the command that continues.

    Raises:
        DataError: the archive cannot be downloaded, though the config says so.
        UserError: nothing can be trained as the arguments say, or a seed failed; the others are in the table.
        Stopped: a signal came; the runs are saved.
    """
    folder, seeds = plan(file, overrides, numbers, output)
    refuse_other_config(folder, seeds, extending)
    with contextlib.ExitStack() as stack:
        with own_advice(folder):
            lock = stack.enter_context(Output(folder).lock())
        if lock.warning:
            print(f"WARNING: {lock.warning}")
        download_missing(seeds[0].config())  # before several processes do so at once
        try:
            failed = train_all(seeds, processes, extending)
            measured = _measure_all([seed for seed in seeds if seed.number not in failed], weights, failed)
        except (Stopped, KeyboardInterrupt):
            print(f"Stopped; what is done is saved. Continue with: {again}")
            raise
        if measured:
            text, files = measure.write(folder, measured, weights, _note(folder, seeds, failed))
            print(text)
            print("written:", ", ".join(map(str, files)))
    if failed:
        _refuse(seeds, failed, again)


def _measure_all(seeds: Sequence[Seed], weights: str, failed: dict[int, list[str]]) -> list[measure.Measured]:
    """Evaluate the seeds; those that cannot be are added to `failed`."""
    measured = []
    for seed in seeds:
        try:
            measured.append(measure.measure(seed, weights))
        except InputError as error:
            failed[seed.number] = [str(error)]
    return measured


def _note(folder: Path, seeds: Sequence[Seed], failed: dict[int, list[str]]) -> str:
    """Return what the table lacks, as sentences."""
    others = [run.name for run in runs_in(folder) if run != folder and run not in [seed.folder for seed in seeds]]
    parts = [f"Seeds that failed: {', '.join(map(str, failed))}."] if failed else []
    parts += [f"Not asked for, but in this folder: {', '.join(others)}."] if others else []
    return " ".join(parts)


def _refuse(seeds: Sequence[Seed], failed: dict[int, list[str]], again: str) -> None:
    """Show the last lines of what failed, then raise UserError."""
    logs = {seed.number: seed.log for seed in seeds}
    for number, lines in failed.items():
        print(f"seed {number} failed; its last lines:", *lines, sep="\n    ")
    first, *more = failed
    files = ", ".join(str(logs[number]) for number in failed)
    raise UserError(
        f"{'seeds' if more else 'seed'} {', '.join(map(str, failed))} failed, see {files}: mend the cause, then "
        f"continue with: {again}",
        key="--seeds",
        value=first,
        place=logs[first],
    )
