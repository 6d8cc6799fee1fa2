"""Common parts of the scripts: arguments, and the one place that turns errors into a line and an exit status."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from common.errors import InputError
from common.shell import set_up
from engine.system.paths import expand_user

from .errors import Stopped, UserError

PATHS = ("FILE", "FILE.py", "DIR", "IN", "OUT", "OUTPUT", "PICTURE", "PYTHON")  # metavars of arguments that are paths
PROJECT = Path(__file__).resolve().parents[1]
OWN = ("common", "data", "engine", "models", "tools")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and which expands `~` in paths where a shell does not."""

    def __init__(self, description: str | None, example: str):
        super().__init__(
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        if options.get("metavar") in PATHS:
            options["type"] = _path(options.get("type", str))
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def add_config(self, **options: Any) -> None:
        self.add_argument("-c", "--config", metavar="FILE", help="YAML config of the run", **options)
        self.add_argument(
            "-o",
            "--override",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="override an option of the config, as in -o data.batch_size=32; repeatable",
        )
        self.add_argument(
            "--device",
            dest="override",
            action="append",
            type="device={}".format,
            metavar="DEVICE",
            help="auto, gpu, gpu:N or cpu; short for -o device=DEVICE",
        )

    def add_weights(self, exports: bool = False) -> None:
        file = "a .pdparams file of weights" + ", or an export: its folder or a file in it" * exports
        self.add_argument("--weights", required=True, metavar="FILE", help=file)


def _path(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the type of an argument that is a path."""

    def read(text: str) -> Any:
        try:
            return kind(expand_user(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text}: expected {error}") from error

    return read


def run(main: Callable[[], None], several: bool = False) -> None:
    """Run a script's main function and exit with its status.

    0: success; 2: an error that the user can fix; 130 (SIGINT) and 143 (SIGTERM): stopped by a signal.

    Args:
        several: the script may be one of several processes of `python -m paddle.distributed.launch`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the terminal's encoding may lack characters of a file name
    try:
        if not several:
            refuse_several()
        main()
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)  # one line, even if a file name has line breaks
        sys.exit(2)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in OWN:
            raise
        print(f"error: {not_ready(error.name)}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def refuse_several() -> None:
    """Raise UserError in one of several processes."""
    count = os.environ.get("PADDLE_TRAINERS_NUM", "1")  # set by the launcher; Paddle is not imported yet
    if count.isdigit() and int(count) > 1:
        raise UserError(
            f"{count} processes, but this script runs in one: start it without paddle.distributed.launch",
            key="processes",
            value=int(count),
        )


def not_ready(module: str | None) -> str:
    """Return the line that says how to set up the environment, which lacks a module."""
    return (
        f"this Python ({sys.executable}) has no module {module}: set up the environment and activate it with "
        f"{set_up(PROJECT)}"
    )


def download_archive(name: str, description: str | None) -> None:
    """Parse the arguments of tools/get_<name>.py and download the official archive of the data set.

    Raises:
        DataError: the download failed, or another file is in the way.
    """
    from data import ARCHIVES
    from data.download import download

    archive = ARCHIVES[name]
    parser = Parser(description, f"python tools/get_{name}.py")
    parser.add_argument(
        "--output",
        default=f"datasets/{archive.addresses[0].rpartition('/')[2]}",
        metavar="FILE",
        help="path of the downloaded archive (default: %(default)s)",
    )
    file = parser.parse_args().output
    download(file, archive.addresses, archive.md5)
    print(f"{file}: the official archive, MD5 checked")
