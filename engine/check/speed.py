"""Pictures per second, which have no bound: they are what the machine gives."""

from engine.check.check import Context, Result
from engine.check.measured import measured
from engine.check.precision import required

STEP = ("forward", "train_step")


def check(context: Context, tf32: bool = True, level: str = "O0", pipeline: str = "") -> Result:
    """Return the rates of forward pass and training step, or those of a pipeline and training end to end.

    Args:
        pipeline: measure training end to end with this pipeline, on pictures made at random.
    """
    required(level, "auto", context.device)
    parts = ("end_to_end",) if pipeline else STEP
    changes = {"data__pipeline": pipeline, "data__file": context.folder / "none"} if pipeline else {}
    found = measured(context, *parts, tf32=tf32, amp__level=level, **changes)
    figure = ", ".join(f"{part.replace('_', ' ')} {found[part]:.1f}" for part in parts) + " pictures/s"
    return Result(None, figure, f"{context.sizes.model}, batch {context.sizes.batch}", found)
