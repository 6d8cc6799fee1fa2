"""A training run from a config to its output folder: from its start, or from where it was left."""

import contextlib
import shlex

from data import FOLDER, DataError

from . import build, config as configs, parallel, pretrained, resume, state as states
from .checkpoint import CheckpointError, load
from .errors import Stopped, UserError
from .output import Output
from .records import NoRecords, Records
from .runtime import describe_device, make_deterministic, seed_everything, select_device
from .stop import Stop
from .trainer import fit, save_to_resume


def train(config, *, overwrite=False, resuming=False, extending=False):
    """Train as a config says. Nothing is created before everything that can be checked beforehand has been.

    Args:
        overwrite: replace the run that the output folder holds.
        resuming: go on from the newest whole checkpoint in the output folder.
        extending: allow a resumed run more epochs than it was planned for.

    Raises:
        UserError: the device, the data, the weights to start from, the output folder or its checkpoints cannot be
            used as the config says.
        Stopped: a signal came; the run is saved.
    """
    output, writes = Output(config.output_dir), parallel.rank() == 0
    output.check_resumable() if resuming else output.check(overwrite)
    if resuming and (told := resume.Checkpoints(output.folder).told()):  # reading the data can take minutes
        _refuse_other_config(told["config"], configs.flatten(config), extending)
    device = select_device(config.device)
    if config.train.deterministic:
        make_deterministic()
    parallel.join()
    seed_everything(config.train.seed)
    dataset = build.build_dataset(config)
    train_loader, val_loader = build.build_train_loader(config, dataset), build.build_val_loader(config, dataset)
    steps, mixing = build.steps_an_epoch(config, train_loader), build.build_mixing(config)
    model, told, origin = build.build_model(config), [], {}
    if not resuming:  # else the checkpoint has the weights, and the file may be gone
        told, origin = pretrained.start(model, config.train.pretrained, config.train.pretrained_resample)
    state = build.build_state(config, model, build.build_precision(config, device), steps * config.train.epochs)
    about = {"config": configs.flatten(config), "archive": dataset.md5, "processes": parallel.size()}
    checkpoints = resume.Checkpoints(output.folder, config.train.keep_checkpoints, about)
    with contextlib.ExitStack() as stack:
        if writes:
            lock = stack.enter_context(output.lock())
        notes, position = _go_on(state, checkpoints, extending) if resuming else (told, None)
        if not parallel.agree(int(resuming), state["epoch"], state["step"]):  # also waits until all have read
            raise UserError(
                f"output_dir: the processes of this run do not read the same in {output.folder}: "
                "it has to be on a file system that all machines see"
            )
        stop = stack.enter_context(Stop())
        if writes:
            if not resuming:
                output.check(overwrite)  # again, now that nobody else can start there
                output.put_old_run_aside()
            provenance = output.describe(config, device, dataset, origin)
            records = stack.enter_context(Records(output.folder, about["config"], provenance, position))
        else:
            records = NoRecords()
        for note in (*_introduction(config, device, state, dataset, steps, mixing), *notes):
            records.info(note)
        if writes and lock.warning:
            records.warn(lock.warning)
        if not resuming:
            save_to_resume(state, checkpoints, records)  # if that fails, better now than after an epoch
        try:
            fit(
                state,
                train_loader,
                val_loader,
                build.build_criterion(config),
                records,
                checkpoints,
                stop,
                epochs=config.train.epochs,
                accumulate=config.train.accumulate,
                seed=config.train.seed,
                log_interval=config.train.log_interval,
                save_every_steps=config.train.save_every_steps,
                prediction_interval=config.train.prediction_interval,
                histogram_interval=config.records.histograms,
                dataset=dataset,
                mixing=mixing,
            )
        except Stopped as stopped:
            records.info(
                f"Stopped by {stopped.signal} at step {state['step']}. Go on by: {_command(output, extending)}"
            )
            raise
        except (CheckpointError, DataError) as error:
            raise UserError(f"{error}; then go on by: {_command(output, extending)}") from error
        for note in _conclusion(device, state, dataset, output):
            records.info(note)


def _go_on(state, checkpoints, extending):
    """Bring the state to where the newest whole checkpoint was; return what to tell, and the records' position there.

    Raises:
        UserError: there is no whole checkpoint, or it is of a run that computes something else.
    """
    found, damage = checkpoints.newest()
    saved = load(found / resume.REST)
    _refuse_changes(saved["about"], checkpoints.about, extending)
    states.restore(state, found)
    if parallel.rank() == 0:
        checkpoints.name_latest(found)  # a kill may have come in between
    if saved["about"]["config"]["train.epochs"] != checkpoints.about["config"]["train.epochs"]:
        states.follow_new_cosine(state)
    warnings = [f"WARNING: {wrong}; the checkpoint before it is used" for wrong in damage]
    done = f"Resumed from {found}: {state['epoch']} epochs and {state['iteration']} steps of the next are done"
    if state["epoch"] == checkpoints.about["config"]["train.epochs"]:
        done += "; nothing is left to do: more epochs by -o train.epochs=N --extend"
    return [*warnings, done], saved["records"]


def _refuse_other_config(saved, now, extending):
    options = configs.options()
    for key, value in now.items():
        before = saved.get(key, options[key].default)  # a run older than the option did as its default does
        if before == value or options[key].metadata["free"]:
            continue
        if key == "train.epochs" and value > before:
            if extending:
                continue
            raise UserError(
                f"train.epochs: {value}, but the run was planned for {before}, and its learning rate with them: "
                "--extend lays its cosine over the longer run"
            )
        raise UserError(
            f"{key}: {value}, but the run was started with {before}, and that decides its numbers: "
            f"give {key}={before}, or start another run with -o output_dir=NEW"
        )


def _refuse_changes(saved, now, extending):
    _refuse_other_config(saved["config"], now["config"], extending)
    if saved["archive"] != now["archive"]:
        of_folder = ": a picture was added, removed or changed" if now["config"]["data.name"] == FOLDER else ""
        raise UserError(
            f"data.file: {now['config']['data.file']} is not the data that the run was started with "
            f"(MD5 {saved['archive']}, not {now['archive']}{of_folder}): give that"
        )
    if saved["processes"] != now["processes"]:
        raise UserError(
            f"{now['processes']} process(es), but the run was started with {saved['processes']}, and that decides its "
            "numbers: launch as many"
        )


def _introduction(config, device, state, dataset, steps, mixing):
    """Lines that say what is about to run on what."""
    yield f"Device: {describe_device(device)}, computing in {state['precision'].describe()}"
    processes, accumulate, batch_size = parallel.size(), config.train.accumulate, config.data.batch_size
    if processes > 1 or accumulate > 1:
        batches = f"{accumulate} batches" if accumulate > 1 else "batches"
        yield (
            f"Processes: {processes}, each with {batches} of {batch_size}: "
            f"{processes * accumulate * batch_size} pictures a step, at the learning rate that the config has"
        )
    yield (
        f"Model: {config.model.name}, {sum(int(p.size) for p in state['model'].parameters()):,} parameters; "
        f"data: {len(dataset.train)} pictures to train on ({steps} steps an epoch), "
        f"{len(dataset.val)} to validate on ({dataset.val.name})"
    )
    if mixing:
        yield "Training batches are mixed: their top1 is against the label with the larger share"
    if state["average"]:
        yield (
            f"Validated, and kept as best_model and final_model: the moving average of the weights, with a decay of "
            f"{config.train.ema_decay}; the weights themselves are in {resume.WEIGHTS}"
        )


def _conclusion(device, state, dataset, output):
    """Lines that say what came out and what comes next."""
    best = state["best"]
    weights = shlex.quote(str(output.folder / f"{'best' if best['epoch'] else 'final'}_model.pdparams"))
    yield (
        f"Done in {states.seconds(state) / 60:.1f} min on {describe_device(device)}: best top1 {best['top1']:.5f} "
        f"({dataset.val.name}, epoch {best['epoch']}); weights, curves and history are in {output.folder}"
    )
    yield f"Next: python eval.py --weights {weights} --report"
    yield f"      python tools/show_attention.py --weights {weights} val:0"
    yield f"      visualdl --logdir {shlex.quote(str(output.folder))}"


def _command(output, extending):
    return f"python train.py --resume {shlex.quote(str(output.folder))}{' --extend' * extending}"
