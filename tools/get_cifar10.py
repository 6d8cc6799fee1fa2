"""Download the official CIFAR-10 archive: resumed where it stopped, checked, in place only when whole."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.cli import Parser, run
from engine.errors import UserError


def main():
    parser = Parser(__doc__, "python tools/get_cifar10.py")
    parser.add_argument(
        "--output",
        default="datasets/cifar-10-python.tar.gz",
        metavar="FILE",
        help="where it goes (default: %(default)s)",
    )
    arguments = parser.parse_args()

    from data import DataError
    from data.download import download

    try:
        download(arguments.output)
    except DataError as error:
        raise UserError(str(error)) from error
    print(f"{arguments.output}: the official archive, MD5 checked")


if __name__ == "__main__":
    run(main)
