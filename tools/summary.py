"""Print a table of a config's model: layers, output shapes, parameters and multiply-adds, for one picture.

Paths of layers are those of weights, and of Python: "layers.0.block.1" is model.layers[0].block[1].
"""

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/summary.py -c configs/tiny_cifar10.yaml")
    parser.add_config(required=True)
    parser.add_argument(
        "--depth",
        type=int,
        choices=range(1, 5),
        default=2,
        help="1: stages, 2: with their projections and encoders, 3: with the parts of these, 4: all layers "
        "(default: %(default)s)",
    )
    arguments = parser.parse_args()

    from engine.config import build
    from engine.config.load import load_config
    from engine.system.device import select_device
    from models.flops import count_layers, totals
    from models.summary import summarize

    config = load_config(arguments.config, arguments.override)
    select_device(config.device)
    model, size = build.build_model(config), config.data.image_size
    layers = count_layers(model, size, size)
    parameters, multiply_adds = totals(layers)
    print(summarize(layers, arguments.depth), end="\n\n")
    print(f"Model: {config.model.name}, {model.num_classes} classes, one picture of {size} x {size}")
    print(f"Parameters: {parameters:,}")
    print(f"Multiply-adds: {multiply_adds / 1e9:.3g} G (FLOPs: {2 * multiply_adds / 1e9:.3g} G)")


if __name__ == "__main__":
    run(main)
