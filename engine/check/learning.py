"""A short training on made pictures, whose loss has to fall."""

import statistics

from engine.check import made
from engine.check.check import CONFIG, Context, Result
from engine.config.load import load_config
from engine.system.seeds import seed_everything, seed_step
from engine.training.parts import build_parts
from engine.training.step import train_step

# Jitter would hide the colors that tell the classes apart, and without a warm-up Tiny's loss may rise again.
CALM = {"data__jitter": 0, "data__rotation": 0, "data__crop": 1, "optimizer__warmup_epochs": 0.1}
RATE = 3e-4  # of Adam; three times the recipe's, as the run is short
ENDS = 5  # steps at the beginning and at the end whose mean loss counts


def check(context: Context) -> Result:
    """Return the loss of the last steps as a share of that of the first ones."""
    sizes = context.sizes
    file = made.write(context.folder, train=sizes.steps * sizes.batch, val=sizes.batch)
    changes = {
        "data__file": file,
        "data__pipeline": "fast",
        "train__epochs": 1,
        "optimizer__learning_rate": RATE,
        **CALM,
    }
    config = load_config(CONFIG, context.overrides(**changes))
    seed_everything(config.train.seed)
    parts, losses = build_parts(config, context.device), []
    parts.state.model.train()
    for step, batch in enumerate(parts.train_loader):
        seed_step(config.train.seed, step, rank=0)
        losses.append(train_step(parts.state, [batch], parts.criterion)[0])
    first, last = (statistics.mean(loss.item() for loss in some) for some in (losses[:ENDS], losses[-ENDS:]))
    return Result(last / first, f"loss {first:.3f} -> {last:.3f}", f"{len(losses)} steps of {sizes.batch} pictures")
