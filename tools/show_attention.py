"""Draw the attention of a trained model over a picture: between regions (RSA), inside one (LSA), down to pixels."""

import argparse
import re

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/show_attention.py --weights output/tiny_cifar10/best_model.pdparams val:7")
    parser.add_argument(
        "picture", metavar="PICTURE", help="a picture file, or val:N for validation picture N of the config's data"
    )
    parser.add_weights()
    parser.add_config()
    parser.add_argument(
        "--region",
        metavar="ROW,COLUMN",
        type=row_and_column,
        help="a region of the first stage's grid, from 0,0; default: its middle",
    )
    parser.add_argument(
        "--encoder",
        choices=("first", "last", "mean"),
        default="last",
        help="which encoder of each stage RSA and LSA show; mean: the mean of all (default: %(default)s)",
    )
    parser.add_argument("--heads", action="store_true", help="draw each attention head instead of their mean")
    parser.add_argument("--output", metavar="DIR", help="where the figures go; default: attention beside FILE")
    arguments = parser.parse_args()

    from engine import filenames
    from engine.inference.attention import show_attention
    from engine.inference.trained import find, load

    weights, config, note = find(arguments.weights, arguments.config, arguments.override)
    if note:
        print(note)
    files, lines = show_attention(
        load(weights, config),
        arguments.picture,
        arguments.output or weights.parent / filenames.ATTENTION,
        arguments.region,
        arguments.encoder,
        arguments.heads,
    )
    print(*lines, sep="\n")
    print("written:", ", ".join(map(str, files)))


def row_and_column(text: str) -> tuple[int, int]:
    """Read "3,4" as (3, 4)."""
    if not re.fullmatch(r"\d+,\d+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text}: expected a row and a column, as in 3,4")
    row, column = map(int, text.split(","))
    return row, column


if __name__ == "__main__":
    run(main)
