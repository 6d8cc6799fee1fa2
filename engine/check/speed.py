"""Pictures per second, which have no bound: they are what the machine gives."""

from typing import Any

from engine.check.check import Context, Result
from engine.check.measured import measured
from engine.check.precision import required

STEP = ("forward", "train_step")


def check(context: Context, allow_tf32: str = "default", level: str = "O0", pipeline: str = "") -> Result:
    """Return the rates of forward pass and training step, or those of a pipeline and training end to end.

    Args:
        pipeline: measure training end to end with this pipeline, on pictures made at random.
    """
    required(level, "auto", context.device)
    parts = ("end_to_end",) if pipeline else STEP
    changes: dict[str, Any] = {"amp__level": level, "amp__allow_tf32": allow_tf32}
    changes |= {"data__pipeline": pipeline, "data__file": context.folder / "none"} if pipeline else {}
    found = measured(context, *parts, **changes)
    figure = ", ".join(f"{part.replace('_', ' ')} {found[part]:.1f}" for part in parts) + " pictures/s"
    return Result(None, figure, f"{context.sizes.model}, batch {context.sizes.batch}", found)
