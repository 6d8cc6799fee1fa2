"""Mixed precision: which operators compute in 16 bits, and the loss scaling that float16 needs."""

import math
from contextlib import AbstractContextManager
from typing import Any

import paddle
from paddle import nn

from engine.errors import UserError
from models.layers import LayerNorm, LayerNorm2D

LEVELS = ("O0", "O1", "O2")
DTYPES = ("auto", "bfloat16", "float16")
FLOAT32 = {"layer_norm", "softmax"}  # operators; by default Paddle keeps them in float32 at O1 only


class MixedPrecision:
    """The precision of a run: `autocast()` for forward passes, `scaler` for the loss (active in float16 only).

    Args:
        level: `O0`: float32. `O1`: matrix products and convolutions in `dtype`, weights in float32. `O2`: weights in
            `dtype` too, with float32 copies in the optimizer; the weights of norms stay in float32.
        dtype: `bfloat16`, `float16`, or `auto`: the first that the GPU supports; float32 if it supports neither.
        device: as returned by `select_device`; a CPU computes in float32 at every level.

    Raises:
        UserError: the GPU does not support a dtype that was requested by name.
    """

    def __init__(self, level: str = "O0", dtype: str = "bfloat16", device: str = "cpu"):
        able = [] if level == "O0" or device == "cpu" else _sixteen_bit_types()
        if dtype != "auto" and level != "O0" and device != "cpu" and dtype not in able:
            raise UserError(
                f"amp.dtype: {dtype}, but {device} does not support it: use amp.dtype=auto",
                key="amp.dtype",
                value=dtype,
            )
        self.wanted, self.level = level, level if able else "O0"
        self.dtype = dtype if dtype != "auto" else next(iter(able), "float16")
        self.why_not = "a CPU" if device == "cpu" else "this GPU, which lacks 16-bit arithmetic"
        self.scaler = paddle.amp.GradScaler(enable=self.level != "O0" and self.dtype == "float16")

    def autocast(self) -> AbstractContextManager:
        """Return the context for a forward pass."""
        return paddle.amp.auto_cast(
            enable=self.level != "O0",
            custom_black_list=FLOAT32,
            level=self.level if self.level != "O0" else "O1",
            dtype=self.dtype,
        )

    def convert(self, model: nn.Layer, optimizer: Any = None) -> None:
        """At O2, convert the model's weights to `dtype`; its state dict still returns them in float32."""
        if self.level == "O2":
            paddle.amp.decorate(
                model,
                optimizer,
                level="O2",
                dtype=self.dtype,
                save_dtype="float32",
                excluded_layers=[LayerNorm, LayerNorm2D],
            )

    def has_diverged(self, loss: float) -> bool:
        """Return whether training has diverged, given the epoch's mean loss so far.

        In float16 some steps overflow: they are skipped, and the loss scale is halved. A scale below 1 means that
        steps have been skipped for a long time.
        """
        if self.scaler.is_enable():
            return self.scaler.state_dict()["scale"].item() < 1
        return not math.isfinite(loss)

    def describe(self) -> str:
        """Return a short description for the log."""
        if self.level != "O0":
            return f"{self.dtype} ({self.level})"
        return "float32" + (f" (amp.level {self.wanted} does nothing on {self.why_not})" if self.wanted != "O0" else "")


def _sixteen_bit_types() -> list[str]:
    """Return the 16-bit types that the current GPU supports, best first, by the conditions of Paddle's own autocast."""
    bfloat16 = ["bfloat16"] if paddle.amp.is_bfloat16_supported() else []
    return bfloat16 + (["float16"] if paddle.device.cuda.get_device_capability()[0] >= 7 else [])
