"""Draw the architecture of a config's model: both kinds of tokens, the stages, one encoder, with their shapes."""

from pathlib import Path

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/show_architecture.py -c configs/tiny_cifar10.yaml --output tiny.png")
    parser.add_config(required=True)
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of the words (default: %(default)s)")
    parser.add_argument(
        "--output", metavar="FILE", type=png, default="architecture.png", help="the PNG (default: %(default)s)"
    )
    arguments = parser.parse_args()

    from engine.config import build
    from engine.config.load import load_config
    from engine.figures.architecture import architecture_figure
    from engine.figures.sheet import as_small_png
    from engine.system import atomic
    from engine.system.device import select_device
    from models.architecture import measure

    config = load_config(arguments.config, arguments.override)
    select_device(config.device)
    size = config.data.image_size
    architecture = measure(build.build_model(config), size, size)
    picture = as_small_png(architecture_figure(architecture, config.model.name, arguments.language))
    file = arguments.output
    with atomic.writing_into(file.parent):
        atomic.replace({file: lambda path: path.write_bytes(picture)})
    print("written:", file)


def png(text: str) -> Path:
    if not text.lower().endswith(".png"):
        raise ValueError("a file that ends in .png")
    return Path(text)


if __name__ == "__main__":
    run(main)
