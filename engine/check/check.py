"""What a check is: a row of the table, what it gets, and what it returns or raises."""

import importlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.system.environment import PROJECT

CONFIG = PROJECT / "configs" / "tiny_cifar10.yaml"  # all runs of the checks are differences from the notebook's recipe


@dataclass(frozen=True)
class Sizes:
    """How large the checks' models, pictures and runs are.

    Attributes:
        model, side, batch: variant, side of its pictures, pictures per batch.
        golden: how many local tokens a picture of a golden case may have at most, 0: no limit.
        steps: of the short training that has to learn. turns: of each measurement of speed.
    """

    model: str
    side: int
    batch: int
    golden: int
    steps: int
    turns: int


# The one place that says how much less a CPU does. It is there so that the checks cannot rot; its figures mean nothing.
ON_A_GPU = Sizes("regionvit_tiny_224", side=224, batch=32, golden=0, steps=200, turns=5)
ON_A_CPU = Sizes("regionvit_micro_32", side=32, batch=16, golden=12 * 12, steps=30, turns=2)


@dataclass(frozen=True)
class Context:
    """What a check gets.

    Attributes:
        device: as `select_device` returns it.
        folder: a temporary folder of this check's own.
        gpus: the number of GPUs that Paddle sees.
    """

    device: str
    folder: Path
    sizes: Sizes = ON_A_CPU
    gpus: int = 0

    def overrides(self, **changes: Any) -> list[str]:
        """Return overrides of `CONFIG` for this device and these sizes; `data__file` stands for `data.file`."""
        sizes = self.sizes
        values = {
            "device": self.device,
            "output_dir": self.folder / "run",
            "model.name": sizes.model,
            "data.image_size": sizes.side,
            "data.batch_size": sizes.batch,
            **{key.replace("__", "."): value for key, value in changes.items()},
        }
        return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()]


@dataclass(frozen=True)
class Result:
    """What a check measured.

    Attributes:
        worst: the number that must not exceed the check's bound; NaN does. None if the check has no bound.
        figure: what was measured, for people.
        note: what else they should know.
        numbers: the same for programs.
    """

    worst: float | None
    figure: str
    note: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


def worst_of(values: Iterable[float]) -> float:
    """Return the largest number, infinity if one is NaN; `max` may overlook a NaN."""
    return max(math.inf if math.isnan(value) else value for value in values)


class Skip(UserError):
    """The check cannot be made here; the message says why, and what to do if something can be done."""


@dataclass(frozen=True)
class Check:
    """A row of the table.

    Attributes:
        module: the module of this package whose function `check(context, **arguments)` returns a `Result`.
        claim: what is true if the check passes.
        bound: the largest `Result.worst` that passes; None: the check passes unless it raises.
        gpus: how many GPUs it needs; with fewer it is skipped.
    """

    name: str
    module: str
    claim: str
    bound: float | None
    gpus: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def run(self, context: Context) -> Result:
        """Make the check.

        Raises:
            Skip: it cannot be made here. Anything else: it failed.
        """
        return importlib.import_module(f"{__package__}.{self.module}").check(context, **self.arguments)

    def holds(self, result: Result) -> bool:
        """Return whether a result is within the bound."""
        return self.bound is None or (result.worst is not None and result.worst <= self.bound)
