"""Mixed precision: what computes in 16 bits, and what keeps training sound there."""

import math

import paddle

from engine.errors import UserError
from models.layers import LayerNorm, LayerNorm2D

LEVELS = ("O0", "O1", "O2")
DTYPES = ("auto", "bfloat16", "float16")
FLOAT32 = {"layer_norm", "softmax"}  # operators; Paddle itself would keep them so at O1 alone


class MixedPrecision:
    """The precision of a run: `autocast()` for forward passes, `scaler` for the loss (it does nothing but in float16).

    Args:
        level: `O0`: float32. `O1`: matrix products and convolutions in `dtype`, weights in float32. `O2`: the weights
            in `dtype` too, beside float32 ones in the optimizer; those of the norms stay in float32.
        dtype: `bfloat16`, `float16`, or `auto`: the first of them that the GPU has; if it has none, float32.
        device: as `select_device` names it; a CPU computes in float32 whatever the level is.

    Raises:
        UserError: this GPU lacks the dtype that was asked for by name.
    """

    def __init__(self, level="O0", dtype="bfloat16", device="cpu"):
        able = [] if level == "O0" or device == "cpu" else _sixteen_bit_types()
        if dtype != "auto" and level != "O0" and device != "cpu" and dtype not in able:
            raise UserError(f"amp.dtype: {dtype}, but {device} cannot compute in it: use amp.dtype=auto")
        self.wanted, self.level = level, level if able else "O0"
        self.dtype = dtype if dtype != "auto" else next(iter(able), "float16")
        self.why_not = "a CPU" if device == "cpu" else "this GPU, which has no 16-bit arithmetic"
        self.scaler = paddle.amp.GradScaler(enable=self.level != "O0" and self.dtype == "float16")

    def autocast(self):
        """Return the context for a forward pass."""
        return paddle.amp.auto_cast(
            enable=self.level != "O0",
            custom_black_list=FLOAT32,
            level=self.level if self.level != "O0" else "O1",
            dtype=self.dtype,
        )

    def convert(self, model, optimizer=None):
        """At O2, turn the model's weights into `dtype`; its state dict gives these in float32 all the same."""
        if self.level == "O2":
            paddle.amp.decorate(
                model,
                optimizer,
                level="O2",
                dtype=self.dtype,
                save_dtype="float32",
                excluded_layers=[LayerNorm, LayerNorm2D],
            )

    def has_diverged(self, loss):
        """Tell from an epoch's mean loss so far whether training is beyond hope.

        In float16 single steps overflow; they are skipped, and the scale of the loss is halved. That has gone on for
        long when the scale is below 1.
        """
        if self.scaler.is_enable():
            return self.scaler.state_dict()["scale"].item() < 1
        return not math.isfinite(loss)

    def describe(self):
        """Say in a few words what computes in what."""
        if self.level != "O0":
            return f"{self.dtype} ({self.level})"
        return "float32" + (f" (amp.level {self.wanted} does nothing on {self.why_not})" if self.wanted != "O0" else "")


def _sixteen_bit_types():
    """What the current GPU computes in, best first; Paddle's own autocast asks for the same."""
    bfloat16 = ["bfloat16"] if paddle.amp.is_bfloat16_supported() else []
    return bfloat16 + (["float16"] if paddle.device.cuda.get_device_capability()[0] >= 7 else [])
