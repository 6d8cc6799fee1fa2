"""A training run from a config to its output folder."""

import json
import shlex
import shutil
import time
from pathlib import Path

from data.download import MD5, md5sum

from . import build, config as configs, parallel
from .errors import UserError
from .history import HISTORY
from .plots import FILES
from .records import DASHBOARD, LOG, NoRecords, Records
from .runtime import describe_device, environment, seed_everything, select_device
from .trainer import fit, new_state

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
MODELS = [f"{name}_{kind}" for name in ("best", "final") for kind in ("model.pdparams", "optimizer.pdopt")]
EVALUATION = ("eval.json", "predictions.png")  # of the old weights
RUN_FILES = (CONFIG, ENVIRONMENT, LOG, HISTORY, DASHBOARD, *FILES.values(), *MODELS, *EVALUATION)


def train(config, overwrite=False):
    """Train as a config says. Nothing is created before everything that can be checked beforehand has been.

    Raises:
        UserError: the device, the data or the output folder cannot be used as the config says.
    """
    folder = Path(config.output_dir)
    try:
        old_run = [folder / name for name in RUN_FILES if (folder / name).exists()]
    except OSError as error:
        raise UserError(f"output_dir: {folder} cannot be used ({error}): choose another") from error
    if old_run and not overwrite:
        raise UserError(
            f"output_dir: {folder} already holds a run ({old_run[0].name}): choose another with -o output_dir=NEW, "
            "or replace it with --overwrite"
        )
    device = select_device(config.device)
    parallel.join()
    seed_everything(config.train.seed)
    dataset = build.build_dataset(config)
    train_loader, val_loader = build.build_train_loader(config, dataset), build.build_val_loader(config, dataset)
    precision = build.build_precision(config, device)
    model = build.build_model(config)
    state = new_state(
        model,
        learning_rate=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
        total_steps=len(train_loader) * config.train.epochs,
        precision=precision,
    )
    if config.train.to_static:
        build.make_static(model, config.data.image_size, precision)
    writes = parallel.rank() == 0
    if writes:
        _prepare(folder, old_run, config, device)
    with Records(folder, configs.flatten(config)) if writes else NoRecords() as records:
        begin = time.perf_counter()
        records.info(f"Device: {describe_device(device)}, computing in {precision.describe()}")
        if parallel.size() > 1:
            records.info(
                f"Processes: {parallel.size()}, each with batches of {config.data.batch_size}: "
                f"{parallel.size() * config.data.batch_size} pictures a step, at the learning rate that the config has"
            )
        records.info(
            f"Model: {config.model.name}, {sum(int(p.size) for p in model.parameters()):,} parameters; "
            f"data: {len(dataset.train)} pictures to train on ({len(train_loader)} steps an epoch), "
            f"{len(dataset.val)} to validate on ({dataset.val.name})"
        )
        fit(
            state,
            train_loader,
            val_loader,
            build.build_criterion(config),
            records,
            epochs=config.train.epochs,
            log_interval=config.train.log_interval,
            prediction_interval=config.train.prediction_interval,
            classes=dataset.classes,
        )
        best, minutes = state["best"], (time.perf_counter() - begin) / 60
        records.info(
            f"Done in {minutes:.1f} min on {describe_device(device)}: best top1 {best['top1']:.5f} "
            f"({dataset.val.name}, epoch {best['epoch']}); weights, curves and history are in {folder}"
        )
        records.info(f"Next: python eval.py --weights {shlex.quote(str(folder / 'best_model.pdparams'))}")
        records.info(f"      visualdl --logdir {shlex.quote(str(folder))}")


def _prepare(folder, old_run, config, device):
    """Make the folder the new run's: remove the old run that was to be replaced, write config and provenance."""
    digest = md5sum(config.data.file)
    try:
        for file in old_run:
            if file.name == DASHBOARD and not file.is_symlink():
                shutil.rmtree(file)
            else:
                file.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(configs.dump(config), encoding="utf-8")
        provenance = {
            **environment(device),
            "archive": {"file": config.data.file, "md5": digest, "official": digest == MD5},
        }
        (folder / ENVIRONMENT).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"output_dir: {folder} cannot be written ({error}): choose another") from error
