"""The parts of a run, built from its config by one call."""

from dataclasses import dataclass, field
from typing import Any

from data import Dataset
from data.mixing import Mixing
from engine.config import build
from engine.config.options import Config
from engine.errors import UserError
from engine.system.precision import MixedPrecision
from engine.training.optimizer import build_optimizer
from engine.training.schedule import build_schedule
from engine.training.state import State, new_state
from engine.training.step import Criterion
from engine.weights import pretrained
from models import RegionViT
from models.static import make_static


@dataclass(frozen=True)
class Parts:
    """The parts of a run.

    Attributes:
        steps: optimizer steps per epoch.
        mixing: how training batches are mixed, or None.
        notes: lines for the log about the weights that the run starts from.
        origin: their provenance for `environment.json`, a flat dict of plain values.
    """

    state: State
    dataset: Dataset
    train_loader: Any
    val_loader: Any
    criterion: Criterion
    steps: int
    mixing: Mixing | None = None
    notes: list[str] = field(default_factory=list)
    origin: dict = field(default_factory=dict)


def build_parts(config: Config, device: str, resuming: bool = False) -> Parts:
    """Build all parts of a run.

    Args:
        device: as `select_device` returns it.
        resuming: ignore `train.pretrained`: the checkpoint has the weights, and the file may be gone.

    Raises:
        UserError, DataError: the data, the weights to start from, or the device cannot be used as the config says.
    """
    dataset = build.build_dataset(config)
    train_loader, val_loader = build.build_train_loader(config, dataset), build.build_val_loader(config, dataset)
    steps, mixing = build.steps_per_epoch(config, train_loader), build.build_mixing(config)
    model = build.build_model(config)
    file, resampling = ("", False) if resuming else (config.train.pretrained, config.train.pretrained_resample)
    notes, origin = pretrained.start(model, file, resampling, dataset.classes)
    state = build_state(config, model, build.build_precision(config, device), steps * config.train.epochs)
    criterion = build.build_criterion(config)
    return Parts(state, dataset, train_loader, val_loader, criterion, steps, mixing, notes, origin)


def build_state(config: Config, model: RegionViT, precision: MixedPrecision, total_steps: int) -> State:
    """Return the state of a run that has not begun, with a learning rate planned for `total_steps`.

    Raises:
        UserError: the warm-up leaves no step for the rest, or two options cannot be combined.
    """
    warmup_epochs, epochs = config.optimizer.warmup_epochs, config.train.epochs
    if warmup_epochs >= epochs:
        raise UserError(
            f"optimizer.warmup_epochs: {warmup_epochs:g}, but train.epochs: {epochs}: use fewer than that",
            key="optimizer.warmup_epochs",
            value=warmup_epochs,
        )
    if config.train.to_static and config.train.recompute:
        raise UserError(
            "train.recompute: true, with train.to_static: true: a static graph keeps all activations: use one of them",
            key="train.recompute",
            value=True,
        )
    if config.train.to_static and precision.level == "O2":
        raise UserError(
            "train.to_static: true, with amp.level: O2: not tried on a GPU yet: use O1, or no to_static",
            key="train.to_static",
            value=True,
        )
    if config.optimizer.name == "Muon" and precision.level == "O2":
        raise UserError(
            "optimizer.name: Muon, with amp.level: O2: Muon's matrices stay in float32: use O1",
            key="optimizer.name",
            value="Muon",
        )
    warmup_steps = int(total_steps // epochs * warmup_epochs)  # unchanged when a run is extended
    schedule = build_schedule(config.optimizer.learning_rate, total_steps, warmup_steps)
    optimizer = build_optimizer(
        config.optimizer.name,
        schedule,
        model,
        weight_decay=config.optimizer.weight_decay,
        layer_decay=config.optimizer.layer_decay,
        clip_norm=config.optimizer.clip_norm,
    )
    state = new_state(
        model, optimizer, schedule, precision, ema_decay=config.train.ema_decay, recompute=config.train.recompute
    )
    if config.train.to_static:
        make_static(model, config.data.image_size, config.data.image_size)
    return state
