"""Draw the learning curves of a run again, from its history.csv."""

from pathlib import Path

import _environment  # noqa: F401

from engine.cli import Parser, run
from engine.errors import UserError


def main() -> None:
    parser = Parser(__doc__, "python tools/plot_curves.py output/tiny_cifar10")
    parser.add_argument("output", metavar="OUTPUT", help="the output folder of a run")
    folder = Path(parser.parse_args().output)

    from engine import filenames
    from engine.figures.curves import plot_curves
    from engine.history import read_history

    points = read_history(folder / filenames.HISTORY)
    try:
        files = plot_curves(points, folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error}): make it writable", key="OUTPUT", place=folder
        ) from error
    print("written:", ", ".join(map(str, files)))


if __name__ == "__main__":
    run(main)
