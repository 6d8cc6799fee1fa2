"""States of runs, without a config."""

from engine.training.optimizer import build_optimizer
from engine.training.schedule import build_schedule
from engine.training.state import State, new_state as state_of


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
    **options,
) -> State:
    """Return the state of a run of `total_steps` that has not begun."""
    schedule = build_schedule(learning_rate, total_steps, warmup_steps)
    optimizer = build_optimizer(
        optimizer, schedule, model, weight_decay=weight_decay, layer_decay=layer_decay, clip_norm=clip_norm
    )
    return state_of(model, optimizer, schedule, precision, **options)
