"""Common parts of the scripts: arguments, and the one place that turns errors into a line and an exit status."""

import argparse
import io
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from common.errors import InputError

from .errors import Stopped


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

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


def run(main: Callable[[], None]) -> None:
    """Run a script's main function and exit with its status.

    0: success; 2: an error that the user can fix; 130 (SIGINT) and 143 (SIGTERM): stopped by a signal.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the terminal's encoding may lack characters of a file name
    try:
        main()
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)  # one line, even if a file name has line breaks
        sys.exit(2)
    except Stopped as stopped:
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


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
