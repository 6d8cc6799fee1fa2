"""Serve an ONNX export over HTTP: pictures in, classes out.

python examples/server/serve.py output/demo/onnx
curl -F pictures=@photo.jpg http://127.0.0.1:8000/predict
"""

import argparse
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import uvicorn

sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))  # steps.py

from app import application
from batcher import Batcher, Run

NUMBERS = {  # default, least, meaning
    "largest-batch": (None, 1, "the most pictures computed at once (default: 16; int8: 1)"),
    "longest-wait": (0, 0, "milliseconds that a picture waits for others, if its batch has room"),
    "megabytes": (10, 1, "the most in a request"),
    "pictures": (16, 1, "the most in a request"),
    "megapixels": (50, 1, "the most in a picture"),
    "seconds": (10, 1, "the most until a request has arrived, and again until its answer"),
    "requests": (100, 1, "the most that arrive or wait for their answers at the same time"),
}


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn answers what it has, then raises the signal again
        signal.signal(number, lambda *_: sys.exit(0))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("export", type=Path, help="its folder")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes one that is free (default: %(default)s)")
    for name, (default, _, meaning) in NUMBERS.items():
        about = meaning + " (default: %(default)s)" * (default is not None)
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=about)
    options = parser.parse_args()
    for name, (_, least, _) in NUMBERS.items():
        value = getattr(options, name.replace("-", "_"))
        if value is not None and value < least:
            parser.error(f"--{name} {value}: expected {least} or more")
    failed = f"{options.export}: not an ONNX export, make one with tools/export.py --format onnx"
    try:
        description, run = load(options.export)
        failed = f"--host {options.host} --port {options.port}: not free, choose another port"
        listening = socket.create_server((options.host, options.port))
    except Exception as error:  # onnxruntime's have no base of their own
        parser.exit(2, f"{failed} ({type(error).__name__}: {' '.join(str(error).split())})\n")
    # asyncio sets it for its own sockets; without it an answer may take 40 ms more (uvicorn's issue 3149).
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # In int8 the pictures of a batch change each other's probabilities a little.
    largest = options.largest_batch or (1 if description["precision"] == "int8" else 16)
    batcher = Batcher(run, largest, options.longest_wait / 1000)
    batcher.start()
    print("http://{}:{}/predict: Ctrl-C stops".format(*listening.getsockname()), flush=True)
    app = application(description, batcher, options)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run([listening])


def load(export: Path) -> tuple[dict[str, Any], Run]:
    """Return an export's description, and its program: inputs [1, 3, size, size] -> their logits [classes]."""
    description = json.loads((export / "preprocessing.json").read_text(encoding="utf-8"))
    if description.get("task") == "features":
        raise ValueError("it returns feature maps, expected classes: export without --features")
    (names,) = (step for step in description["steps"] if step["op"] == "run")
    program = onnxruntime.InferenceSession(export / "inference.onnx", providers=onnxruntime.get_available_providers())
    return description, lambda inputs: program.run([names["output"]], {names["input"]: np.concatenate(inputs)})[0]


if __name__ == "__main__":
    main()
