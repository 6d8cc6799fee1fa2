"""All that a run is, in one dict, and its way to disk and back.

- model, and network: the model as it is trained, through which several processes average their gradients
- optimizer, schedule (of the learning rate), precision; average: the weights' moving average, or None
- epoch: epochs done; iteration: steps done of the next one; step: steps done in all
- meter: what the epoch under way has counted; best: the best validation accuracy and its epoch
- began: when, by the clock of this process; a resumed run's lies before its start by the time it has taken already

Nothing random is in it: order and augmentation of pictures are a function of (seed, epoch, index), what a training step
draws (dropout) one of (seed, step).
"""

import time

import paddle

from . import checkpoint, parallel, resume
from .amp import MixedPrecision
from .ema import MovingAverage
from .metrics import Meter
from .optimizer import build_optimizer
from .schedule import build_schedule


def new_state(
    model,
    *,
    learning_rate,
    weight_decay,
    total_steps,
    precision=None,
    optimizer="Adam",
    warmup_steps=0,
    layer_decay=1.0,
    clip_norm=0.0,
    ema_decay=0.0,
    recompute=False,
):
    """Return the state of a run of `total_steps` that has not begun; see `build_schedule` and `build_optimizer`.

    The weights' moving average, for an `ema_decay` above 0, starts at the weights that the model has now. `recompute`
    tells that the model recomputes.
    """
    schedule = build_schedule(learning_rate, total_steps, warmup_steps)
    optimizer = build_optimizer(
        optimizer, schedule, model, weight_decay=weight_decay, layer_decay=layer_decay, clip_norm=clip_norm
    )
    precision = precision or MixedPrecision()
    precision.convert(model, optimizer)
    return {
        "model": model,
        "network": parallel.average_gradients(model, afterwards=recompute),
        "optimizer": optimizer,
        "schedule": schedule,
        "precision": precision,
        "average": MovingAverage(model, optimizer, ema_decay) if ema_decay else None,
        "epoch": 0,
        "iteration": 0,
        "step": 0,
        "meter": Meter(model.num_classes),
        "best": {"top1": -1.0, "epoch": 0},  # any first epoch is better
        "began": time.perf_counter(),
    }


def is_finite(model):
    """Whether no weight of a model is NaN or infinite."""
    with paddle.no_grad():
        return all(paddle.stack([weights.isfinite().all() for weights in model.parameters()]).tolist())


@paddle.no_grad()
def gradient_norm(model):
    """Return the length of all gradients as one vector, a scalar on the device; the last step has left them."""
    gradients = [weights.grad for weights in model.parameters() if weights.grad is not None]
    # In float64: Paddle 3 adds up a CPU's float32 one after the other, and loses a tenth of 70 million squares.
    squares = [gradient.astype("float32").square().sum(dtype="float64") for gradient in gradients]
    return paddle.stack(squares).sum().sqrt()


def weights_and_optimizer(state):
    """Return the state dicts of the model, and of the optimizer, its schedule and the loss scaler."""
    optimizer = checkpoint.optimizer_state(state["optimizer"], state["model"])
    scaler = state["precision"].scaler.state_dict()
    return state["model"].state_dict(), {**optimizer, **({"GradScaler": scaler} if scaler else {})}


def save(state, folder, name):
    """Write weights as `<name>_model.pdparams`, the optimizer's and the scaler's state as `<name>_optimizer.pdopt`.

    The weights are those that were validated: the moving average where the state has one.

    Raises:
        CheckpointError: the disk refuses it; older files are whole.
    """
    weights, optimizer = weights_and_optimizer(state)
    if state["average"]:
        weights = state["average"].state_dict()
    checkpoint.save({folder / f"{name}_model.pdparams": weights, folder / f"{name}_optimizer.pdopt": optimizer})


def progress(state):
    """Return the rest of the state as plain numbers; all processes of the run have to call it."""
    return {
        **{name: state[name] for name in ("epoch", "iteration", "step", "best")},
        "meter": state["meter"].counts(),
        "seconds": seconds(state),
    }


def seconds(state):
    """Return how long a run has taken so far, without the time between its stops and resumptions."""
    return time.perf_counter() - state["began"]


def restore(state, folder):
    """Bring a new state to where a checkpoint's was.

    Raises:
        CheckpointError: the checkpoint is not this model's.
    """
    saved = checkpoint.load(folder / resume.REST)
    checkpoint.load_weights(state["model"], folder / resume.WEIGHTS, finite=False)
    scaler = checkpoint.load_optimizer(state["optimizer"], state["model"], folder / resume.OPTIMIZER)
    if scaler:
        state["precision"].scaler.load_state_dict(scaler)
    if state["average"]:
        state["average"].restore(saved["average"])
    state.update({name: saved[name] for name in ("epoch", "iteration", "step", "best")})
    state["meter"].restore(saved["meter"])
    state["began"] -= saved.get("seconds", 0.0)  # not noted by an older run


def follow_new_cosine(state):
    """Set the learning rate to what the schedule, now planned for more steps, has at this one."""
    state["schedule"].step(state["step"])  # given a step, Paddle takes the closed form
