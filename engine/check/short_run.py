"""A short run in a process of its own, which may kill itself: `python short_run.py FOLDER [--resume] [--die-after N]`.

It is one epoch of the trainer's loop with its checkpoints, then validation and the final weights, without records and
figures: a GPU has no part in these. The last line of its output is JSON.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

# A script's own folder comes first; here its modules would hide others of their names.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

from engine import filenames
from engine.check.check import CONFIG
from engine.config.load import flatten, load_config
from engine.output.checkpoints import Checkpoints
from engine.output.log import NoRecords
from engine.system import processes, tf32
from engine.system.device import make_deterministic, select_device
from engine.system.seeds import seed_everything
from engine.system.signals import Stop
from engine.training.parts import build_parts
from engine.training.resume import restore_newest
from engine.training.state import save
from engine.training.trainer import Trainer, save_to_resume

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no SIGKILL; its SIGTERM cannot be caught either


class Deadly(Stop):
    """Kills the process after a step, as a power cut would."""

    def __init__(self, after: int):
        super().__init__()
        self.left = after

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), KILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--die-after", type=int, default=0)
    parser.add_argument("-o", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    config = load_config(CONFIG, [*arguments.overrides, f"output_dir={arguments.folder}", "train.epochs=1"])

    device = select_device(config.device)
    if config.train.deterministic:
        make_deterministic()
    tf32.allow(config.amp.allow_tf32)
    seed_everything(config.train.seed)
    parts = build_parts(config, device, arguments.resume)
    about = {"config": flatten(config), "archive": parts.dataset.md5, "processes": processes.size()}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    checkpoints, records = Checkpoints(arguments.folder, about=about), NoRecords()
    if arguments.resume:
        restore_newest(parts.state, checkpoints, extending=False)
    else:
        save_to_resume(parts.state, checkpoints, records)
    began = parts.state.step
    trainer = Trainer(parts, config, records, checkpoints, Deadly(arguments.die_after))
    trainer.train_one_epoch()
    trained, validated = parts.state.meter.read(), trainer.validate()
    if processes.rank() == 0:
        save(parts.state, arguments.folder, filenames.FINAL)
        print(json.dumps({"began": began, "train_loss": trained["loss"], "val_loss": validated.loss}))
    processes.wait()


if __name__ == "__main__":
    main()
