"""Check this project on a GPU in about five minutes: numbers, precision, resuming, exports, memory, speed.

Each check has a bound, and fails beyond it; the others go on. At the end one table says what passed, FAILED and was
SKIPPED; it is also written as Markdown, to be pasted into an issue, and as JSON. On a CPU small versions of the checks
run, as far as they can, and their figures mean nothing. The status is 1 if a check failed.
"""

import datetime
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import _environment  # noqa: F401

from engine.cli import Parser, run
from engine.errors import UserError

if TYPE_CHECKING:
    from engine.check.check import Check


def main() -> None:
    from engine.check import report, run as checking
    from engine.check.table import CHECKS
    from engine.check.worker import FAILED
    from engine.system.atomic import writing_into

    parser = Parser(__doc__, "python tools/gpu_check.py --device gpu")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto (the default), gpu, gpu:N or cpu")
    parser.add_argument("--only", metavar="NAMES", help="make only these checks, separated by commas")
    parser.add_argument("--list", action="store_true", help="list the checks and end")
    parser.add_argument(
        "--output", default="output/gpu_check", metavar="DIR", help="folder of the report (default: %(default)s)"
    )
    arguments = parser.parse_args()
    checks = chosen(CHECKS, arguments.only)
    if arguments.list:
        for check in checks:
            print(f"{check.name:18} {f'{check.gpus} GPU' if check.gpus else '':6} {check.claim}")
        return
    with writing_into(arguments.output) as folder:
        begin = time.perf_counter()
        found = checking.run(checks, arguments.device, say=lambda line: print(line, flush=True))
        found["date"] = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        found["seconds"], found["only"] = (
            time.perf_counter() - begin,
            [check.name for check in checks if arguments.only],
        )
        files = report.write(found, folder)
    print(f"\n{report.markdown(found)}\nwritten: {', '.join(map(str, files))}")
    if any(row["result"] == FAILED for row in found["checks"]):
        sys.exit(1)


def chosen(checks: "Sequence[Check]", only: str | None) -> "list[Check]":
    """Return the checks that are named, all if none is; UserError if one does not exist."""
    names = [name.strip() for name in only.split(",")] if only is not None else [check.name for check in checks]
    valid = [check.name for check in checks]
    for name in names:
        if name not in valid:
            raise UserError(f"--only {only}: no check {name!r}; valid: {', '.join(valid)}", key="--only", value=name)
    return [check for check in checks if check.name in names]


if __name__ == "__main__":
    run(main)
