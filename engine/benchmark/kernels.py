"""Whether Paddle's GPU build has a kernel for whatever a training step launches: asked without a GPU.

A GPU build on a CPU computes there, writes the kernel and the type of each operator into its log (GLOG_v=6), and knows
all kernels that it was compiled with.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import paddle

import data
from common import paddle_private
from engine.config import build
from engine.config.options import Config
from engine.system.flags import flags
from engine.system.precision import MixedPrecision
from engine.training.parts import build_state
from engine.training.step import train_step
from models import VARIANTS, cpu

Kernel = tuple[str, str]  # operator, type

SIXTEEN_BITS = ("float16", "bfloat16")
# What the loss scaling of float16 and the levels O1 and O2 add to a step; a CPU has neither.
OF_MIXED_PRECISION = {
    *(("cast", dtype) for dtype in ("float32", *SIXTEEN_BITS)),
    *(("check_finite_and_unscale", dtype) for dtype in ("float32", *SIXTEEN_BITS)),
    ("update_loss_scaling", "float32"),
}
LINE = re.compile(rb"\] (\w+) (?:API kernel key: \[\w+, \w+, (\w+)\]|kernel: )")
PICTURES = 4


def launched(config: Config) -> set[Kernel]:
    """Return the kernels that a GPU would launch for a training step of a config, at every level of mixed precision.

    What the model and the optimizer compute in float32 counts in both 16-bit types too: a level chooses between them.
    Models have one encoder per stage, which launches what many do.
    """
    shortened = {**VARIANTS[config.model.name]}
    shortened["depth"] = (1,) * len(shortened["depth"])
    config.model.num_classes = config.model.num_classes or 10
    with cpu.plain(), mock.patch.dict(VARIANTS, {config.model.name: shortened}):
        state = build_state(config, build.build_model(config), MixedPrecision(), total_steps=1000 * config.train.epochs)
    state.model.train()
    criterion, mixing = build.build_criterion(config), build.build_mixing(config)
    with cpu.plain(), flags(use_stride_kernel=True), logged() as lines:
        (batch,) = _batches(config)
        batch = mixing(*batch, 0, 0, 0, 0) if mixing else batch
        train_step(state, [batch], criterion)
    step = kernels(lines)
    with cpu.plain(), flags(use_stride_kernel=True), logged() as lines:
        logits = state.model(batch[0])
        logits.backward(paddle.ones_like(logits))
        state.optimizer.step()
        state.optimizer.clear_grad()
    mixed = {(name, other) for name, dtype in kernels(lines) if dtype == "float32" for other in SIXTEEN_BITS}
    return step | mixed | OF_MIXED_PRECISION


def missing(wanted: Iterable[Kernel]) -> list[Kernel]:
    """Return those kernels that this Paddle does not have for a GPU."""
    return sorted(set(wanted) - paddle_private.gpu_kernels())


@contextlib.contextmanager
def logged() -> Iterator[list[bytes]]:
    """A context that yields what Paddle logs within it, as lines; they are there when the context is left."""
    lines: list[bytes] = []
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(before, 2)
            os.close(before)
            log.seek(0)
            lines += log.read().splitlines()


def kernels(lines: Iterable[bytes]) -> set[Kernel]:
    """Return the kernels that Paddle's log names: a line with an operator's type, then one with the kernel's name."""
    found, dtype = set(), ""
    for line in lines:
        if match := LINE.search(line):
            if match[2]:
                dtype = match[2].decode()
            elif dtype:
                found.add((match[1].decode(), dtype))
                dtype = ""
    return found


def _batches(config: Config) -> Any:
    """Return one batch of noise, augmented as a GPU does it."""
    side = build.side(config)
    pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, side, side, 3), np.uint8)
    return data.build_train_loader(
        data.Split("noise", pictures, np.arange(PICTURES) % config.model.num_classes),
        batch_size=PICTURES,
        image_size=config.data.image_size,
        num_workers=0,
        seed=0,
        augmentation=build.build_augmentation(config),
        pipeline="fast",
        on_device=True,
    )
