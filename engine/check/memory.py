"""Peak memory of a training step in each precision and with recomputation."""

from typing import Any

from engine.check.check import Context, Result, worst_of
from engine.check.measured import measured
from engine.check.precision import required
from engine.check.speed import STEP

SETTINGS: dict[str, dict[str, Any]] = {
    "O0": {"amp__level": "O0"},
    "O1": {"amp__level": "O1"},
    "O2": {"amp__level": "O2"},
    "recompute": {"amp__level": "O0", "train__recompute": True},
}


def check(context: Context) -> Result:
    """Return the peak at O1 or with recomputation, whichever is larger, as a share of the peak at O0."""
    required("O1", "auto", context.device)
    peaks = {}
    for name, changes in SETTINGS.items():
        peaks[name] = measured(context, *STEP, amp__allow_tf32="always", **changes)["memory"]
    worst = worst_of(peaks[name] / peaks["O0"] for name in ("O1", "recompute"))
    figure = ", ".join(f"{name} {peak:.0f} MB" for name, peak in peaks.items())
    return Result(worst, figure, f"{context.sizes.model}, batch {context.sizes.batch}", peaks)
