"""Several scripts in one process, one after the other: importing Paddle is what a small run costs most.

`in_turn.py JOBS RESULTS`: JOBS is a JSON list of {"name", "script", "arguments", "signal_at"}; with "signal_at", a step
and the name of a signal, the process gets it in that training step, as by Ctrl-C. RESULTS becomes {name: {"status",
"out", "err"}}. Models are smaller and figures blank.
"""

import io
import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from engine.training import trainer
from models import VARIANTS
from tests.support.drawing import blank_figures
from tests.support.runs import NANO

for name in ("SIGINT", "SIGBREAK"):  # the second in the imitation alone; a script's background ignores what both are
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.default_int_handler)


def step_with_signal(step, name, original):
    def train_step(state, *arguments):
        if state.step == step:
            signal.raise_signal(getattr(signal, name))
        return original(state, *arguments)

    return train_step


def run(script, arguments, signal_at=None, **_):
    """Run a script as a command would; return its exit status and what it printed, whose encoding is the machine's."""
    encoding = sys.__stdout__.encoding
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    before = sys.stdout, sys.stderr, sys.argv, trainer.train_step
    sys.stdout, sys.stderr = streams
    sys.argv, status = [script, *arguments], 0
    if signal_at is not None:
        trainer.train_step = step_with_signal(*signal_at, trainer.train_step)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as exit:
        status = exit.code or 0
    except BaseException:
        status = 1
        streams[1].reconfigure(errors="backslashreplace")
        traceback.print_exc(file=streams[1])
    finally:
        sys.stdout, sys.stderr, sys.argv, trainer.train_step = before
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)
    return {"status": status, "out": out, "err": err}


def main():
    jobs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    VARIANTS["regionvit_micro_conv_32"] = NANO
    results, file = {}, Path(sys.argv[2])
    with blank_figures():
        for job in jobs:
            results[job["name"]] = run(**{**job, "script": os.fspath(job["script"])})
            file.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
