"""Mixed precision: the type that a model computes in, and the loss scaling that float16 needs."""

import math
from collections.abc import MutableMapping

import paddle
from paddle import Tensor, nn

from engine.errors import UserError
from models.layers import Conv2D, Linear
from models.precision import as_type

LEVELS = ("O0", "O1", "O2")
DTYPES = ("auto", "bfloat16", "float16")


class MixedPrecision:
    """The precision of a run: `convert` for models, `scaler` for the loss (active in float16 only).

    Paddle's `auto_cast` is not used: it casts each weight at each use, and what its lists of operators leave in float32
    differs between versions. `models.precision` says what this project computes in which type.

    Args:
        level: `O0`: float32. `O1`: activations in `dtype`, weights in float32. `O2`: the weights of linear layers and
            dense convolutions in `dtype` too, with float32 copies in the optimizer.
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

    def convert(self, model: nn.Layer) -> None:
        """Let a model compute in this precision; at O2 its weights have 16 bits then, and its state dict float32."""
        if self.level == "O0":
            return
        dtype = getattr(paddle, self.dtype)
        model.computes_in = dtype
        if self.level == "O2":
            for layer in model.sublayers():
                if isinstance(layer, Linear | Conv2D):
                    layer.to(dtype=dtype)
            # Paddle's `decorate` would give a hook to every layer, and each would cast all of the state dict.
            model.register_state_dict_hook(_to_float32)

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


def _to_float32(state: MutableMapping[str, Tensor]) -> None:
    for key, value in state.items():
        if value.is_floating_point():
            state[key] = as_type(value, paddle.float32)
