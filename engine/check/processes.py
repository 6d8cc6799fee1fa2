"""Two processes, one for each GPU, train as one process with twice the batch."""

from engine.check import made, short_runs
from engine.check.check import Context, Result, worst_of

STEPS = 6
TWO_GPUS = ("--gpus", "0,1")


def check(context: Context, launcher: tuple[str, ...] = TWO_GPUS) -> Result:
    """Return how far apart the losses of training and validation are, as a share of one process's.

    Args:
        launcher: arguments of Paddle's launcher.
    """
    batch = context.sizes.batch
    file = made.write(context.folder, train=STEPS * 2 * batch, val=2 * batch)
    runs = {"one": (2 * batch, ()), "two": (batch, (*launcher, "--log_dir", context.folder / "logs"))}
    losses = {}
    for name, (size, launch) in runs.items():
        changes = {"data__file": file, "data__batch_size": size, "amp__allow_tf32": "never"}
        settings = context.overrides(optimizer__learning_rate=1e-3, **changes)
        if launch and context.device != "cpu":
            settings.append("device=gpu")  # the launcher chooses which
        arguments = [context.folder / name, *(part for text in settings for part in ("-o", text))]
        losses[name] = short_runs.result(short_runs.start(*arguments, launcher=launch))
    keys = "train_loss", "val_loss"
    apart = {key: abs(losses["two"][key] / losses["one"][key] - 1) for key in keys}
    figure = ", ".join(f"{key} {losses['one'][key]:.5f} and {losses['two'][key]:.5f}" for key in keys)
    return Result(worst_of(apart.values()), figure, f"{STEPS} steps", losses)
