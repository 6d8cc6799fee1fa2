"""The state of a run in one value, and how it is saved and restored.

It holds no random generator: order and augmentation of the pictures are functions of (seed, epoch, index), and what a
training step draws (dropout) is a function of (seed, step, process). See `data.streams`.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import paddle
from paddle import nn
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LRScheduler

from engine import filenames
from engine.metrics.meter import Meter
from engine.system import processes
from engine.system.precision import MixedPrecision
from engine.training.ema import MovingAverage
from engine.weights import pdparams


@dataclass
class State:
    """The state of a run; `new_state` makes one that has not begun.

    Attributes:
        network: the model as it is trained. Through it several processes average their gradients.
        average: the moving average of the weights, or None.
        meter: loss and accuracy of the current epoch so far.
        epoch: epochs done. iteration: steps done of the next epoch. step: steps done in all.
        best: the best validation accuracy (a fraction) and its epoch.
        began: when the run began, by this process's clock; for a resumed run, shifted back by the time that it had
            already taken.
    """

    model: nn.Layer
    network: nn.Layer
    optimizer: Optimizer
    schedule: LRScheduler
    precision: MixedPrecision
    average: MovingAverage | None
    meter: Meter
    epoch: int = 0
    iteration: int = 0
    step: int = 0
    best: dict = field(default_factory=lambda: {"top1": -1.0, "epoch": 0})  # any first epoch is better
    began: float = field(default_factory=time.perf_counter)


def new_state(
    model: nn.Layer,
    optimizer: Optimizer,
    schedule: LRScheduler,
    precision: MixedPrecision | None = None,
    *,
    ema_decay: float = 0.0,
    recompute: bool = False,
) -> State:
    """Return the state of a run that has not begun.

    Args:
        ema_decay: if above 0, keep a moving average of the weights, which starts at the model's weights now.
        recompute: the model recomputes activations in the backward pass.
    """
    precision = precision or MixedPrecision()
    precision.convert(model)
    return State(
        model=model,
        network=processes.average_gradients(model, afterwards=recompute),
        optimizer=optimizer,
        schedule=schedule,
        precision=precision,
        average=MovingAverage(model, optimizer, ema_decay) if ema_decay else None,
        meter=Meter(model.num_classes),
    )


def is_finite(model: nn.Layer) -> bool:
    """Return whether all weights of a model are finite."""
    with paddle.no_grad():
        return all(paddle.stack([weights.isfinite().all() for weights in model.parameters()]).tolist())


def weights_and_optimizer(state: State) -> tuple[dict, dict]:
    """Return the state dicts of the model, and of the optimizer with its schedule and the loss scaler."""
    optimizer = pdparams.optimizer_state(state.optimizer, state.model)
    scaler = state.precision.scaler.state_dict()
    return state.model.state_dict(), {**optimizer, **({"GradScaler": scaler} if scaler else {})}


def save(state: State, folder: Path, name: str) -> None:
    """Write `<name>_model.pdparams`, and the optimizer's and the scaler's state as `<name>_optimizer.pdopt`.

    The weights are those that were validated: the moving average where the state has one.

    Raises:
        CheckpointError: the disk refuses the files; older ones stay whole.
    """
    weights, optimizer = weights_and_optimizer(state)
    if state.average:
        weights = state.average.state_dict()
    pdparams.save({folder / filenames.model(name): weights, folder / filenames.optimizer(name): optimizer})


def progress(state: State) -> dict:
    """Return the rest of the state as plain numbers. All processes of the run must call it."""
    return {
        **{name: getattr(state, name) for name in ("epoch", "iteration", "step", "best")},
        "meter": state.meter.counts(),
        "seconds": seconds(state),
    }


def seconds(state: State) -> float:
    """Return how long a run has taken so far, without the time between a stop and the resume."""
    return time.perf_counter() - state.began


def restore(state: State, folder: Path) -> None:
    """Bring a new state to where a checkpoint's was.

    Raises:
        CheckpointError: the checkpoint does not fit this model.
    """
    saved = pdparams.load(folder / filenames.REST)
    pdparams.load_weights(state.model, folder / filenames.WEIGHTS, finite=False)
    scaler = pdparams.load_optimizer(state.optimizer, state.model, folder / filenames.OPTIMIZER)
    if scaler:
        state.precision.scaler.load_state_dict(scaler)
    if state.average:
        state.average.restore(saved["average"])
    state.epoch, state.iteration, state.step = saved["epoch"], saved["iteration"], saved["step"]
    state.best = saved["best"]
    state.meter.restore(saved["meter"])
    state.began -= saved.get("seconds", 0.0)  # older runs did not save it


def follow_new_cosine(state: State) -> None:
    """Set the learning rate to the one that the schedule, now planned for more steps, has at this step."""
    state.schedule.step(state.step)  # given a step, Paddle takes the closed form
