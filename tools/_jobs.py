"""The command line that detect.py and segment.py have in common: train a model of another library, predict with it."""

from argparse import Namespace
from pathlib import Path

from engine.cli import Parser


def parser(about: str, command: str, library: str, override: str, output: str) -> Parser:
    """Return the parser of a script.

    Args:
        about: its docstring.
        command: an example.
        library: whose configs it takes.
        override: an example of `-o`.
        output: the default of `--output`.
    """
    made = Parser(about, command)
    made.add_argument("job", choices=("train", "predict"), help="what to do")
    made.add_argument("pictures", metavar="PICTURE", nargs="*", help="of predict: a file or a folder")
    made.add_argument("-c", "--config", metavar="FILE", required=True, help=f"YAML config in {library}'s format")
    made.add_argument(
        "-o",
        "--override",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=f"override an entry of the config, as in -o {override}; repeatable",
    )
    made.add_argument("--weights", metavar="FILE", help="of predict: a .pdparams file that train wrote")
    made.add_argument("--output", metavar="DIR", default=output, help="folder for the results (default: %(default)s)")
    made.add_argument("--device", default="auto", help="auto, gpu, gpu:N or cpu (default: %(default)s)")
    made.add_argument("--seed", metavar="N", type=int, default=0, help="of train (default: %(default)s)")
    return made


def parse(parser: Parser) -> Namespace:
    """Return the arguments, once they go together; else end with status 2 and a line."""
    arguments: Namespace = parser.parse_intermixed_args()
    if not 0 <= arguments.seed < 2**32:
        parser.error(f"argument --seed: {arguments.seed}: give 0 to {2**32 - 1}")
    if arguments.job == "predict" and not (arguments.weights and arguments.pictures):
        parser.error("predict needs --weights and a PICTURE")
    if arguments.job == "train" and (arguments.weights or arguments.pictures):
        parser.error("train takes neither --weights nor a PICTURE")
    return arguments


def begin(arguments: Namespace, module: str) -> None:
    """Select the device, once the library is known to be installed."""
    from engine.system.device import select_device
    from integrations.libraries import need

    need(module)
    select_device(arguments.device)


def pictures(arguments: Namespace) -> list[Path]:
    """Return the pictures that were named; print which files of their folders are none."""
    from data.pictures import find

    files, left_out = find(arguments.pictures)
    print(*left_out, sep="\n", end="\n" * bool(left_out))
    return files
