"""A run that is killed and resumed ends in the bits of one that was not."""

from collections.abc import Sequence

import numpy as np

from engine import filenames
from engine.check import made, short_runs
from engine.check.check import Context, Result
from engine.check.precision import required
from engine.weights import pdparams

STEPS, EVERY, DIES_AFTER = 8, 3, 5  # of the run; between checkpoints; steps 4 and 5 are lost


def check(context: Context, overrides: Sequence[str], level: str = "O0", dtype: str = "auto") -> Result:
    """Return how many arrays of weights and optimizer differ.

    Raises:
        ChildError: the run was not killed, or did not begin at its checkpoint again.
    """
    required(level, dtype, context.device)
    batch = context.sizes.batch // 4  # two runs have to fit on a small GPU
    file = made.write(context.folder, train=STEPS * batch, val=batch)
    changes = {"data__file": file, "data__batch_size": batch, "amp__level": level, "amp__dtype": dtype}
    settings = context.overrides(train__deterministic=True, train__save_every_steps=EVERY, **changes)
    settings = [part for text in [*settings, *overrides] for part in ("-o", text)]
    whole, killed = context.folder / "whole", context.folder / "killed"
    running = short_runs.start(whole, *settings)  # beside the other one, which saves its time
    status, lines = short_runs.end(short_runs.start(killed, "--die-after", DIES_AFTER, *settings))
    expected = short_runs.result(running)
    if status == 0 or (killed / filenames.model(filenames.FINAL)).exists():
        raise short_runs.ChildError(f"the run that should be killed ended with status {status}: {lines[-1:]}")
    again = short_runs.result(short_runs.start(killed, "--resume", *settings))
    if again["began"] != EVERY:
        raise short_runs.ChildError(f"the resumed run began at step {again['began']}, not at the checkpoint of {EVERY}")
    names = filenames.model(filenames.FINAL), filenames.optimizer(filenames.FINAL)
    pairs = [[pdparams.load(folder / name) for folder in (whole, killed)] for name in names]
    different = [key for a, b in pairs for key in {*a, *b} if not _same(a.get(key), b.get(key))]
    different += [key for key in ("train_loss", "val_loss") if expected[key] != again[key]]
    total = sum(len(a) for a, _ in pairs) + 2
    note = f"killed after step {DIES_AFTER}, resumed at {EVERY}" + (f"; first: {different[0]}" if different else "")
    return Result(len(different), f"{len(different)} of {total} differ", note, {"different": different[:20]})


def _same(a: object, b: object) -> bool:
    try:
        np.testing.assert_equal(a, b)
    except AssertionError:
        return False
    return True
