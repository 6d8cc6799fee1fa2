"""Mixed precision: the loss beside float32's, and weights that stay finite."""

import numpy as np
import paddle

from engine.check.check import Context, Result, Skip
from engine.check.golden import fill, picture
from engine.errors import UserError
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.system.precision import MixedPrecision
from engine.training.optimizer import build_optimizer
from engine.training.schedule import build_schedule
from engine.training.state import State, is_finite, new_state
from engine.training.step import train_step
from models import build_model

PICTURES = 8
STEPS = 4  # in float16 the first ones may overflow and be skipped
RATE = 1e-4


def check(context: Context, level: str, dtype: str, variant: str = "") -> Result:
    """Return how far the loss of the first step is from float32's; infinite if anything is not finite afterwards.

    Args:
        variant: of the model; by default the context's.
    """
    precision = required(level, dtype, context.device)
    losses = [_losses(context, variant, of_run) for of_run in (MixedPrecision(), precision)]
    difference = abs(losses[0][0] - losses[1][0])
    numbers = {"float32": losses[0], precision.describe(): losses[1]}
    figure = f"loss {losses[1][0]:.4f}, float32's {losses[0][0]:.4f}, difference {difference:.1e}"
    if not np.isfinite(losses).all():
        return Result(np.inf, "not finite", figure, numbers)
    return Result(difference, figure, f"{STEPS} steps, all finite", numbers)


def required(level: str, dtype: str, device: str) -> MixedPrecision:
    """Return a precision that a GPU has.

    Raises:
        Skip: it does not have it. A CPU, which computes in float32 at every level, is not refused.
    """
    try:
        precision = MixedPrecision(level, dtype, device)
    except UserError as error:
        raise Skip(str(error), key=error.key, value=error.value) from error
    if device != "cpu" and precision.level != level:
        raise Skip(f"needs 16-bit arithmetic, which {device} lacks", key="amp.level", value=level)
    return precision


def _losses(context: Context, variant: str, precision: MixedPrecision) -> list[float]:
    """Return the losses of a few steps from the golden weights, NaN at the end if a weight is not finite."""
    side = context.sizes.side
    batch = picture(3, side, side, PICTURES), paddle.arange(PICTURES) % 10
    state = _state(variant or context.sizes.model, precision)
    losses = [train_step(state, [batch], LabelSmoothingCrossEntropy(0.1))[0].item() for _ in range(STEPS)]
    return [*losses[:-1], losses[-1] if is_finite(state.model) else np.nan]


def _state(variant: str, precision: MixedPrecision) -> State:
    model = fill(build_model(variant, num_classes=10))
    model.train()
    schedule = build_schedule(RATE, STEPS, 0)
    return new_state(model, build_optimizer("Adam", schedule, model, weight_decay=0.0), schedule, precision)
