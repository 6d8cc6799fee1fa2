"""Check that Paddle's GPU wheel has a kernel for whatever training launches, by every config. It needs no GPU.

`make gpu-kernels` runs it in an environment of its own, with requirements/gpu-2.6.txt.
"""

import os
import re
import subprocess
import sys

import _environment  # noqa: F401

from engine.cli import PROJECT, Parser, run
from engine.errors import UserError

LOGGING = {"GLOG_v": "6"}  # Paddle reads it when it is imported


def main() -> None:
    parser = Parser(__doc__, "python tools/gpu_kernels.py configs/tiny_cifar10.yaml")
    parser.add_argument("configs", nargs="*", metavar="FILE", help="YAML configs (default: all in configs/)")
    files = parser.parse_args().configs or sorted(map(str, (PROJECT / "configs").glob("*.yaml")))
    if not LOGGING.items() <= os.environ.items():
        sys.exit(_in_a_process_that_logs())

    import paddle

    from engine.benchmark import kernels
    from engine.config.load import load_config

    if not paddle.is_compiled_with_cuda():
        raise UserError(
            f"Paddle {paddle.__version__} here is a CPU build: `make gpu-kernels` installs one with GPU kernels",
            key="kernels",
            value=paddle.__version__,
        )
    wanted: set[kernels.Kernel] = set()
    for file in files:
        wanted |= kernels.launched(load_config(file, ["device=cpu"]))
    if absent := kernels.missing(wanted):
        names = ", ".join(f"{name} in {dtype}" for name, dtype in absent)
        raise UserError(f"this Paddle has no GPU kernel for {names}: use another one", key="kernels", value=absent)
    print(f"{len(files)} configs: this Paddle has a GPU kernel for all {len(wanted)} pairs of operator and type")


def _in_a_process_that_logs() -> int:
    """Run this script again with Paddle's log on, which is not shown; return its status."""
    command = [sys.executable, *sys.orig_argv[1:]]
    environ = {**os.environ, **LOGGING}
    done = subprocess.run(command, env=environ, stderr=subprocess.PIPE, encoding="utf-8", errors="replace")
    if done.returncode:  # the log goes on after an error
        errors = re.findall(r"^error: .*", done.stderr, re.MULTILINE)
        print(errors[-1] if errors else done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    run(main)
