"""Write scikit-learn's 1,797 handwritten digits as an archive in CIFAR-10's layout: real pictures without a download.

The 8 x 8 gray pictures (UCI "Optical Recognition of Handwritten Digits") become 32 x 32 RGB. Every fifth is a test
picture.
"""

from pathlib import Path

import _environment  # noqa: F401

from engine.cli import Parser, run
from engine.errors import UserError


def main() -> None:
    parser = Parser(__doc__, "python tools/make_digits.py")
    parser.add_argument(
        "--output", default="datasets/digits.tar.gz", metavar="FILE", help="path of the archive (default: %(default)s)"
    )
    file = Path(parser.parse_args().output)

    from data.digits import write_digits

    try:
        train, test = write_digits(file)
    except OSError as error:
        raise UserError(
            f"--output {file} cannot be written ({error}): choose another", key="--output", value=str(file), place=file
        ) from error
    print(f"{file}: {train} digits to train on, {test} to test on")


if __name__ == "__main__":
    run(main)
