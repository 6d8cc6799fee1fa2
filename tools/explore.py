"""Show in the browser what a trained model sees in a picture: classes, and the attention of the region you click.

The page is on this machine alone (127.0.0.1) and loads nothing from the network. Ctrl-C ends it.
"""

import argparse

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/explore.py --weights output/demo/best_model.pdparams")
    parser.add_weights()
    parser.add_config()
    parser.add_argument("--compare", metavar="FILE", help="weights of a second run, to look at the same picture")
    parser.add_argument("--port", type=port, default=7860, metavar="N", help="default: %(default)s")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of the page (default: %(default)s)")
    arguments = parser.parse_args()

    from engine.explorer import page

    page.check_gradio()
    page.check_port(arguments.port)

    from engine.explorer.explorer import OPTIONS, Explorer
    from engine.explorer.words import LANGUAGES
    from engine.inference.trained import find, load

    models = []
    given = (arguments.weights, arguments.config), (arguments.compare, None)
    for (weights, config_file), option in zip(given, OPTIONS, strict=True):
        if weights:
            path, config, note = find(weights, config_file, arguments.override, option)
            if note:
                print(note)
            models.append(load(path, config))
    page.serve(Explorer(models), arguments.port, LANGUAGES[arguments.language])


def port(text: str) -> int:
    """Read a port that a server can listen on."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text}: expected a port from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    run(main)
