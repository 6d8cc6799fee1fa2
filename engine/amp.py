"""Mixed precision: what computes in 16 bits, and what keeps training sound there."""

import paddle

from models.layers import LayerNorm, LayerNorm2D

from .errors import UserError

LEVELS = ("O0", "O1", "O2")
DTYPES = ("auto", "bfloat16", "float16")
FLOAT32 = {"layer_norm", "softmax", "log_softmax", "nll_loss"}  # operators, beside those that Paddle itself keeps


class MixedPrecision:
    """The precision of a run: `autocast()` for forward passes, `scaler` for the loss (it does nothing but in float16).

    Args:
        level: `O0`: float32. `O1`: matrix products and convolutions in `dtype`, weights in float32. `O2`: the weights
            in `dtype` too, beside float32 ones in the optimizer; those of the norms stay in float32.
        dtype: `bfloat16`, `float16`, or `auto`: bfloat16 where the GPU has it, else float16.
        device: as `select_device` names it; a CPU computes in float32 whatever the level is.

    Raises:
        UserError: this GPU lacks the precision.
    """

    def __init__(self, level="O0", dtype="bfloat16", device="cpu"):
        self.wanted = level
        self.level = "O0" if device == "cpu" else level
        has = {"bfloat16": paddle.amp.is_bfloat16_supported, "float16": paddle.amp.is_float16_supported}
        self.dtype = ("bfloat16" if has["bfloat16"]() else "float16") if dtype == "auto" else dtype
        if self.level != "O0" and not has[self.dtype]():
            raise UserError(f"amp.dtype: {self.dtype}, but {device} cannot compute in it: use another or amp.level=O0")
        self.scaler = paddle.amp.GradScaler(enable=self.level != "O0" and self.dtype == "float16")

    def autocast(self):
        """Return the context for a forward pass."""
        return paddle.amp.auto_cast(
            enable=self.level != "O0",
            custom_black_list=FLOAT32,
            level=self.level if self.level != "O0" else "O1",
            dtype=self.dtype,
        )

    def convert(self, model, optimizer):
        """At O2, turn the model's weights into `dtype`; checkpoints hold float32 all the same."""
        if self.level == "O2":
            paddle.amp.decorate(
                model,
                optimizer,
                level="O2",
                dtype=self.dtype,
                save_dtype="float32",
                excluded_layers=[LayerNorm, LayerNorm2D],
            )

    def describe(self):
        """Say in a few words what computes in what."""
        if self.level != "O0":
            return f"{self.dtype} ({self.level})"
        return "float32" + (f" (amp.level {self.wanted} does nothing on a CPU)" if self.wanted != "O0" else "")
