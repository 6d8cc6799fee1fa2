"""Draw a training picture as the config's pipeline augments it in each epoch, with its parameters if they are known.

With --appliers: draw several pictures as each applier of the augmentation makes them, and their distance from those of
paddle.vision.
"""

import argparse

import _environment  # noqa: F401

from engine.cli import Parser, run
from engine.errors import UserError

MOST = 100  # the most pictures in one figure


def main() -> None:
    arguments = parse()

    from engine.config import build
    from engine.config.load import load_config
    from engine.figures.augmentation import draw_appliers, draw_epochs
    from engine.figures.curves import as_png
    from engine.system.atomic import writing_into
    from engine.system.device import select_device

    config = load_config(arguments.config, arguments.override)
    select_device(config.device)
    dataset = build.build_dataset(config, on_disk=True)
    if not 0 <= arguments.index < len(dataset.train):
        raise UserError(
            f"--index {arguments.index}: the {dataset.train.name} has pictures 0 to {len(dataset.train) - 1}",
            key="--index",
            value=arguments.index,
        )
    if arguments.appliers:
        figure = draw_appliers(config, dataset, arguments.pictures)
    else:
        figure = draw_epochs(config, dataset, arguments.index, arguments.epochs)
    with writing_into(arguments.output) as folder:
        file = folder / "augmentation.png"
        file.write_bytes(as_png(figure))
    print("written:", file)


def parse() -> argparse.Namespace:
    parser = Parser(__doc__, "python tools/show_augmentation.py -c configs/tiny_cifar10_fast.yaml --index 7")
    parser.add_config(required=True)
    parser.add_argument("--index", metavar="N", type=int, help="which training picture, from 0 (default: 0)")
    parser.add_argument("--epochs", metavar="N", type=int, help="in how many epochs (default: 11)")
    parser.add_argument("--appliers", action="store_true", help="compare the appliers instead")
    parser.add_argument("--pictures", metavar="N", type=int, help="how many, with --appliers (default: 6)")
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="augmentation",
        help="the folder for augmentation.png (default: %(default)s)",
    )
    arguments = parser.parse_args()
    for name in ("index", "epochs") if arguments.appliers else ("pictures",):
        if getattr(arguments, name) is not None:
            parser.error(f"argument --{name}: does nothing {'with' if arguments.appliers else 'without'} --appliers")
    for name, default in (("index", 0), ("epochs", 11), ("pictures", 6)):
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    for name in ("epochs", "pictures"):
        if not 1 <= getattr(arguments, name) <= MOST:
            parser.error(f"argument --{name}: {getattr(arguments, name)}: give 1 to {MOST}")
    return arguments


if __name__ == "__main__":
    run(main)
