"""train.py with a smaller Micro that sends itself a signal: `dying_train.py CALL SIGNAL ...`, at that call.

Training steps, evaluations and every call to the disk are counted; a call that writes a file writes half of it first.
With DYING_RANK in the environment only that process of several does so; with DYING_LAUNCHER the signal goes to their
launcher.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import train
from engine import cli, history
from engine.training import state, trainer
from models import VARIANTS
from tests.support.drawing import blank_figures
from tests.support.runs import NANO

VARIANTS["regionvit_micro_conv_32"] = NANO
paddle = state.paddle  # imported by the project, after its settings for it
deadly, signum = int(sys.argv.pop(1)), getattr(signal, sys.argv.pop(1))
if os.environ.get("DYING_RANK", "0") != os.environ.get("PADDLE_TRAINER_ID", "0"):
    deadly = 0
calls = 0


def counting(original, half=None):
    def function(*arguments, **keywords):
        global calls
        calls += 1
        if calls == deadly:
            if half:
                half(original, *arguments)
            os.kill(os.getppid() if "DYING_LAUNCHER" in os.environ else os.getpid(), signum)
        return original(*arguments, **keywords)

    return function


def save_half(save, state, file):
    save(state, file)
    os.truncate(file, os.path.getsize(file) // 2)


def write_half(write, path, text, **keywords):
    write(path, text[: len(text) // 2])


paddle.save = counting(paddle.save, save_half)
Path.write_text = counting(Path.write_text, write_half)
for name in ("mkdir", "unlink", "rename"):
    setattr(Path, name, counting(getattr(Path, name)))
for name in ("fsync", "rename", "replace", "link", "truncate"):
    setattr(os, name, counting(getattr(os, name)))
shutil.rmtree = counting(shutil.rmtree)
trainer.train_step, trainer.evaluate = counting(trainer.train_step), counting(trainer.evaluate)
history.History.append = counting(history.History.append)
with blank_figures():
    cli.run(train.main, several=True)
print("calls:", calls)
