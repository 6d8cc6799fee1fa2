"""Write made pictures of circles, squares and triangles on noise, annotated for PaddleDetection and for PaddleSeg.

The same arguments make the same pictures.
"""

from pathlib import Path

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/make_shapes.py")
    parser.add_argument("--output", default="datasets/shapes", metavar="DIR", help="folder (default: %(default)s)")
    for split, count in (("train", 600), ("val", 50)):
        parser.add_argument(
            f"--{split}", default=count, type=int, metavar="N", help="number of pictures (default: %(default)s)"
        )
    parser.add_argument("--side", default=128, type=int, metavar="N", help="of a picture (default: %(default)s pixels)")
    parser.add_argument("--seed", default=0, type=int, metavar="N", help="other pictures (default: %(default)s)")
    arguments = parser.parse_args()
    for name, least in (("train", 1), ("val", 1), ("side", 32), ("seed", 0)):
        if getattr(arguments, name) < least:
            parser.error(f"argument --{name}: {getattr(arguments, name)}: give {least} or more")

    from engine.system.atomic import writing_into
    from integrations import shapes

    with writing_into(arguments.output) as folder:
        shapes.write(folder, arguments.train, arguments.val, arguments.side, arguments.seed)
    print(f"{Path(arguments.output)}: {arguments.train} pictures to train on, {arguments.val} to validate on")


if __name__ == "__main__":
    run(main)
