"""What all scripts share: arguments, and the one place that turns a user's mistake into a line and an exit status."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from common.errors import InputError

from .errors import Stopped


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def __init__(self, description: str | None, example: str):
        super().__init__(
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

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
            help="override a value of the config, as in -o data.batch_size=32; repeatable",
        )
        self.add_argument(
            "--device",
            dest="override",
            action="append",
            type="device={}".format,
            metavar="DEVICE",
            help="auto, gpu, gpu:N or cpu: short for -o device=DEVICE",
        )

    def add_weights(self, exports: bool = False) -> None:
        file = "a .pdparams file of a model's weights" + ", or an export: its folder, or a file of it" * exports
        self.add_argument("--weights", required=True, metavar="FILE", help=file)


def run(main: Callable[[], None]) -> None:
    """Run a script's main function and leave with its exit status.

    0: done; 2: something that the user can fix; 130 (SIGINT) and 143 (SIGTERM): asked to stop.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal may lack the letters of a name
    try:
        main()
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)  # one line, whatever a name in it holds
        sys.exit(2)
    except Stopped as stopped:
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def download_archive(name: str, description: str | None) -> None:
    """Parse the arguments of tools/get_<name>.py and download the official archive of that data set.

    Raises:
        DataError: it cannot be downloaded, or another file is in the way.
    """
    from data import ARCHIVES
    from data.download import download

    archive = ARCHIVES[name]
    parser = Parser(description, f"python tools/get_{name}.py")
    parser.add_argument(
        "--output",
        default=f"datasets/{archive.addresses[0].rpartition('/')[2]}",
        metavar="FILE",
        help="where it goes (default: %(default)s)",
    )
    file = parser.parse_args().output
    download(file, archive.addresses, archive.md5)
    print(f"{file}: the official archive, MD5 checked")
