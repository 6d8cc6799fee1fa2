"""Train a config with several seeds, evaluate each, and say how far their accuracies spread.

Each seed is a run of train.py in a folder of its own, OUTPUT/seed1 and so on. The same command again continues what is
unfinished, skips what is done, and adds new seeds.
"""

import sys
from pathlib import Path

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/repeat.py -c configs/micro_cifar10.yaml --seeds 1,2,3")
    parser.add_config(required=True)
    parser.add_argument("--seeds", required=True, metavar="1,2,3", help="the seeds, each once")
    parser.add_argument("--output", metavar="DIR", help="the folder of all runs; default: the config's output_dir")
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="seeds to train at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--weights",
        choices=("best", "final"),
        default="final",
        help="which weights to evaluate (default: %(default)s); the best epoch is chosen by its accuracy, so on the "
        "pictures that chose it, it is too high",
    )
    parser.add_argument("--extend", action="store_true", help="allow more train.epochs than the runs were planned for")
    arguments = parser.parse_args()
    if arguments.processes < 1:
        parser.error(f"--processes {arguments.processes}: expected 1 or more")

    from common.shell import command
    from engine.repeat.run import repeat
    from engine.repeat.seeds import read_numbers

    repeat(
        Path(arguments.config),
        arguments.override,
        read_numbers(arguments.seeds),
        Path(arguments.output) if arguments.output else None,
        processes=arguments.processes,
        weights=arguments.weights,
        extending=arguments.extend,
        again=command("python", "tools/repeat.py", *sys.argv[1:]),
    )


if __name__ == "__main__":
    run(main)
