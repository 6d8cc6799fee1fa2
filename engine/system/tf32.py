"""TF32, in which GPUs since Ampere can compute float32 products and convolutions: faster, with 10 bits of mantissa.

On a CPU and on older GPUs nothing here has an effect. What Paddle does of itself differs by version: before 3.3 it uses
TF32 for both, from 3.3.1 on for convolutions only (PaddlePaddle/Paddle pull requests 28732, 29192 and 77842).
"""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping

import paddle

from common import paddle_private
from engine.system.flags import set_known, values

DEFAULT, ALWAYS, NEVER = "default", "always", "never"
CHOICES = (DEFAULT, ALWAYS, NEVER)
# GPU builds of 3.3 have flags beside the switches; Paddle's newer interface to cuDNN asks the flag only.
FLAGS = {"products": "cublas_allow_tf32", "convolutions": "cudnn_allow_tf32"}
FIRST = (8, 0)  # compute capability


def allow(wanted: str) -> None:
    """Let float32 products and convolutions use TF32 from now on: one of `CHOICES`; `DEFAULT` is Paddle's own."""
    own = _paddles_own()
    _set(own if wanted == DEFAULT else dict.fromkeys(own, wanted == ALWAYS))


@contextlib.contextmanager
def never() -> Iterator[None]:
    """A context without TF32, for whatever is compared with exact numbers."""
    _paddles_own()  # noted before anything changes
    before = _state()
    _set(dict.fromkeys(before, False))
    try:
        yield
    finally:
        _set(before)


def describe(device: str) -> str:
    """Return what a device computes in TF32, for the log; "" for a device that cannot."""
    if device == "cpu" or paddle.device.cuda.get_device_capability(int(device.partition(":")[2])) < FIRST:
        return ""
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":  # stronger than any setting of a program
        return "nothing (NVIDIA_TF32_OVERRIDE=0)"
    state = _state()
    return " and ".join(what for what in FLAGS if state.get(what) or state.get(FLAGS[what])) or "nothing"


@functools.cache
def _paddles_own() -> Mapping[str, bool]:
    return _state()


def _state() -> dict[str, bool]:
    return paddle_private.tf32() | values(*FLAGS.values())


def _set(state: Mapping[str, bool]) -> None:
    set_known({name: state[name] for name in FLAGS.values() if name in state})
    if set(FLAGS) <= set(state):
        paddle_private.allow_tf32(state["products"], state["convolutions"])
