"""Draw the learning curves of a run again, from its history.csv."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.cli import Parser, run
from engine.errors import UserError


def main():
    parser = Parser(__doc__, "python tools/plot_curves.py output/tiny_cifar10")
    parser.add_argument("output", metavar="OUTPUT", help="the output folder of a run")
    folder = Path(parser.parse_args().output)

    from engine.history import HISTORY, read_history
    from engine.plots import plot_curves

    points = read_history(folder / HISTORY)
    try:
        files = plot_curves(points, folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error})") from error
    print("written:", ", ".join(map(str, files)))


if __name__ == "__main__":
    run(main)
