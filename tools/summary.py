"""Print a summary of a config's model: layers, number of parameters, and multiply-adds per picture."""

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/summary.py -c configs/tiny_cifar10.yaml")
    parser.add_config(required=True)
    arguments = parser.parse_args()

    import paddle

    from engine.config import build
    from engine.config.load import load_config
    from engine.system.device import select_device
    from models.flops import count_multiply_adds

    config = load_config(arguments.config, arguments.override)
    select_device(config.device)
    model, size = build.build_model(config), config.data.image_size
    paddle.summary(model, (1, 3, size, size))
    multiply_adds = count_multiply_adds(model, size, size)
    print(f"Model: {config.model.name}, {model.num_classes} classes, one picture of {size} x {size}")
    print(f"Parameters: {sum(int(p.size) for p in model.parameters()):,}")
    print(f"Multiply-adds: {multiply_adds / 1e9:.3g} G (FLOPs: {2 * multiply_adds / 1e9:.3g} G)")


if __name__ == "__main__":
    run(main)
