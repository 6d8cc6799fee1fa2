"""A training run from a config to its output folder: from its start, or resumed."""

import contextlib
from collections.abc import Iterator
from typing import Any

from common.shell import command
from common.words import counted
from data import DataError, has_test_set
from engine import filenames
from engine.config.load import flatten
from engine.config.options import Config
from engine.errors import Stopped, UserError
from engine.output.checkpoints import Checkpoints
from engine.output.folder import Output
from engine.output.log import NoRecords, Records
from engine.system import processes, tf32
from engine.system.device import describe_device, make_deterministic, select_device
from engine.system.environment import libraries
from engine.system.seeds import seed_everything
from engine.system.signals import Stop
from engine.training import resume
from engine.training.parts import Parts, build_parts
from engine.training.state import seconds
from engine.training.trainer import Trainer, save_to_resume
from engine.weights.pdparams import CheckpointError


def train(config: Config, *, overwrite: bool = False, resuming: bool = False, extending: bool = False) -> None:
    """Train as a config says. Nothing is created before everything that can be checked beforehand has been.

    Args:
        overwrite: replace the run that the output folder holds.
        resuming: continue from the newest whole checkpoint in the output folder.
        extending: allow a resumed run more epochs than it was planned for.

    Raises:
        UserError, DataError: the device, the data, the weights to start from, the output folder or its checkpoints
            cannot be used as the config says.
        Stopped: a signal came; the run is saved.
    """
    output, writes = Output(config.output_dir), processes.rank() == 0
    warnings: list[str] = []
    if resuming:
        output.check_resumable()
        warnings += resume.keep_split(output.folder, config)
        resume.refuse_other_config_early(output.folder, config, extending)  # reading the data can take minutes
    else:
        output.check(overwrite)
    device = _prepare(config)
    parts = build_parts(config, device, resuming)
    about: dict[str, Any] = {"config": flatten(config), "archive": parts.dataset.md5, "processes": processes.size()}
    about["libraries"] = libraries()
    checkpoints = Checkpoints(output.folder, config.train.keep_checkpoints, about)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(output.lock()) if writes else None
        notes, position = parts.notes, None
        if resuming:
            notes, saved = resume.restore_newest(parts.state, checkpoints, extending)
            warnings += resume.changed_libraries(saved, output.folder, about["libraries"])
            position = saved["records"]
        _check_that_processes_agree(output, parts, resuming)
        stop = stack.enter_context(Stop())
        records: Records | NoRecords = NoRecords()
        if writes:
            if not resuming:
                output.check(overwrite)  # again, now that nobody else can start there
                output.put_old_run_aside()
            provenance = output.describe(config, device, parts.dataset, parts.origin)
            warnings += parts.dataset.notes
            records = stack.enter_context(output.records(about["config"], provenance, position))
        for note in (*_introduction(config, device, parts), *notes):
            records.info(note)
        records.mention_cut()
        for warning in warnings + ([lock.warning] if lock and lock.warning else []):
            records.warn(warning)
        if not resuming:
            save_to_resume(parts.state, checkpoints, records)  # if that fails, better now than after an epoch
        again = command("python", "train.py", "--resume", output.folder, *["--extend"] * extending)
        try:
            Trainer(parts, config, records, checkpoints, stop).fit()
        except Stopped as stopped:
            records.info(f"Stopped by {stopped.signal} at step {parts.state.step}. Resume with: {again}")
            raise
        except (CheckpointError, DataError) as error:
            raise UserError(
                f"{error}; then resume with: {again}", key=error.key, value=error.value, place=error.place
            ) from error
        for note in _conclusion(config, device, parts, output):
            records.info(note)


def _prepare(config: Config) -> str:
    """Select the device, which joins the other processes, and seed the generators; return the device's name."""
    device = select_device(config.device)
    if config.train.deterministic:
        make_deterministic()
    tf32.allow(config.amp.allow_tf32)
    seed_everything(config.train.seed)
    return device


def _check_that_processes_agree(output: Output, parts: Parts, resuming: bool) -> None:
    """Refuse a run whose processes read different checkpoints; also waits until all have read theirs."""
    if not processes.agree(int(resuming), parts.state.epoch, parts.state.step):
        raise UserError(
            f"output_dir: the processes of this run do not read the same files in {output.folder}: "
            "use a file system that all machines share",
            key="output_dir",
            value=str(output.folder),
        )


def _introduction(config: Config, device: str, parts: Parts) -> Iterator[str]:
    """Yield lines for the log about the run and the device."""
    state, dataset = parts.state, parts.dataset
    yield f"Device: {describe_device(device)}, computing in {state.precision.describe()}"
    if in_tf32 := tf32.describe(device):
        yield f"In TF32 (amp.allow_tf32: {config.amp.allow_tf32}): {in_tf32}"
    count, accumulate, batch_size = processes.size(), config.train.accumulate, config.data.batch_size
    if count > 1 or accumulate > 1:
        batches = f"{accumulate} batches" if accumulate > 1 else "batches"
        yield (
            f"Processes: {count}, each with {batches} of {batch_size}: {count * accumulate * batch_size} pictures per "
            "step, at the learning rate in the config"
        )
    yield (
        f"Model: {config.model.name}, {sum(int(p.size) for p in state.model.parameters()):,} parameters; "
        f"data: {len(dataset.train)} pictures to train on ({counted(parts.steps, 'step')} per epoch), "
        f"{len(dataset.val)} to validate on ({dataset.val.name})"
    )
    if parts.mixing:
        yield "Training batches are mixed: their top1 is against the label with the larger share"
    if state.average:
        yield (
            "Validated, and kept as best_model and final_model: the moving average of the weights, with a decay of "
            f"{config.train.ema_decay}; the weights themselves are in {filenames.WEIGHTS}"
        )


def _conclusion(config: Config, device: str, parts: Parts, output: Output) -> Iterator[str]:
    """Yield lines for the log about the result and what to do next."""
    best = parts.state.best
    kept = filenames.model(filenames.BEST if best["epoch"] else filenames.FINAL)
    weights = output.folder / kept
    yield (
        f"Done in {seconds(parts.state) / 60:.1f} min on {describe_device(device)}: best top1 {best['top1']:.5f} "
        f"({parts.dataset.val.name}, epoch {best['epoch']}); weights, curves and history are in {output.folder}"
    )
    of = config.data
    on_test_set = ["-o", "data.holdout=0"] if of.holdout and has_test_set(of.file, of.name) else []
    yield f"Next: {command('python', 'eval.py', '--weights', weights, *on_test_set, '--report')}"
    yield f"      {command('python', 'tools/show_attention.py', '--weights', weights, 'val:0')}"
    yield f"      {command('visualdl', '--logdir', output.folder)}"
