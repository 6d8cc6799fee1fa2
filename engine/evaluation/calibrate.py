"""Fitting a temperature to the pictures that a run held out of its training set, never to the test set."""

from pathlib import Path

import numpy as np

from engine import filenames
from engine.config import build
from engine.config.load import load_config
from engine.config.options import Config
from engine.errors import UserError
from engine.inference import program
from engine.inference.trained import Trained, load
from engine.metrics.evaluate import evaluate
from engine.metrics.temperature import CannotFit, fit_temperature
from engine.output.folder import read_environments
from engine.system import processes
from engine.weights.temperature import write_note


def calibrate(weights: Path, config: Config) -> str:
    """Fit a temperature to a run's held-out training pictures, and note it beside the weights.

    The run's own config says what was held out; the choice is a function of the data, so that it is the same again.

    Args:
        weights: a `.pdparams` file with its run's `config.yaml` beside it.
        config: of the evaluation, for device, batch size and workers.

    Returns:
        a line for the log, a warning if no temperature is best: that is no mistake of the user, and the evaluation that
        follows is worth having.

    Raises:
        DataError: the run's data cannot be read.
        UserError: the weights are an export, their run is not known or held nothing out, its data has changed, or
            the note cannot be written.
    """
    trained = load(weights, _of_the_run(weights, config))
    loader = build.build_val_loader(trained.config, trained.dataset)
    _check_data(trained)
    criterion, classes = build.build_criterion(trained.config), len(trained.dataset.classes)
    predictions = evaluate(trained.model, loader, criterion, classes).predictions
    trained.check(predictions.probabilities)
    split, images = trained.dataset.val.name, len(predictions.labels)
    try:
        temperature = fit_temperature(np.asarray(predictions.logits), predictions.labels)
    except CannotFit as reason:
        return (
            f"WARNING: not calibrated: no temperature fits {weights} ({split}: {reason}): train with more of them held "
            f"out (-o data.holdout=N, {images} here)"
        )
    before, after = (
        {"cross_entropy": which.cross_entropy(), "ece": which.calibration().error}
        for which in (predictions, predictions.tempered(temperature))
    )
    more = {**before, "calibrated": after, "data_md5": trained.dataset.md5}
    if processes.rank() == 0:
        try:
            write_note(weights, temperature, trained.sha256, images, split, **more)
        except OSError as error:
            raise UserError(
                f"--calibrate: {weights.parent} cannot be written ({error}): copy the run to where it can be",
                key="--calibrate",
                value=str(weights),
                place=weights.parent,
            ) from error
    processes.wait()
    changes = ", ".join(f"{name.replace('_', ' ')}: {x:.5f} -> {after[name]:.5f}" for name, x in before.items())
    return f"fitted temperature {temperature:.4f} to {images} {split}; on these {changes}"


def _of_the_run(weights: Path, config: Config) -> Config:
    """Return the config of the run that trained weights."""
    if program.is_export(weights):
        raise UserError(
            f"--calibrate: {weights} is an export: calibrate the .pdparams file it was made from, and export again",
            key="--calibrate",
            value=str(weights),
            place=weights,
        )
    file = weights.parent / filenames.CONFIG
    if not file.exists():
        raise UserError(
            f"--calibrate: no {filenames.CONFIG} beside {weights}, which would say what pictures the run held out",
            key="--calibrate",
            value=str(weights),
            place=file,
        )
    own = load_config(
        file,
        [
            f"device={config.device}",
            f"data.batch_size={config.data.batch_size}",
            f"data.num_workers={config.data.num_workers}",
        ],
    )
    if not own.data.holdout:
        raise UserError(
            f"--calibrate: this run held out no training pictures (data.holdout: 0 in {file}), and the test set is not "
            "to be fitted to: train with -o data.holdout=N",
            key="data.holdout",
            value=0,
            place=file,
        )
    if not own.data.download and not Path(own.data.file).exists():
        raise UserError(
            f"--calibrate: {own.data.file} not found here, which the run was trained on (data.file in {file}, whatever "
            "-o says): run this where the run was started, or put its data there",
            key="data.file",
            value=own.data.file,
            place=own.data.file,
        )
    return own


def _check_data(trained: Trained) -> None:
    """Refuse data of which other pictures were held out, and processes that do not see the same."""
    data, folder = trained.dataset, trained.weights.parent
    noted = {str(facts["data_md5"]) for facts in read_environments(folder) if facts.get("data_md5")}
    if noted - {data.md5}:
        raise UserError(
            f"--calibrate: {trained.config.data.file} is not what the run was trained on (MD5 {data.md5}, in "
            f"{folder / filenames.ENVIRONMENT} {', '.join(sorted(noted))}), so that held-out pictures may be others: "
            "put the run's data there",
            key="data.file",
            value=data.md5,
            place=trained.config.data.file,
        )
    if not processes.agree(int(trained.sha256[:15], 16), len(data.val)):
        raise UserError(
            f"--weights {trained.weights}: not the same weights and pictures for all processes: give all the "
            "same files",
            key="--weights",
            value=str(trained.weights),
            place=trained.weights,
        )
