"""Export a trained model as a program that needs none of this project's code: for Paddle Inference, or as ONNX.

The export is a folder with inference.json (with Paddle 2.6: inference.pdmodel) and inference.pdiparams, or
inference.onnx; preprocessing.json, which describes how to prepare a picture; and config.yaml. It takes batches of any
size and computes in float32. Before it is written, it is run and compared with the model.
"""

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/export.py --weights output/demo/best_model.pdparams --format onnx")
    parser.add_weights()
    parser.add_config()
    parser.add_argument("--format", choices=("paddle", "onnx"), default="paddle", help="default: %(default)s")
    parser.add_argument("--output", metavar="DIR", help="the folder of the export; default: paddle or onnx beside FILE")
    arguments = parser.parse_args()

    from engine.inference.export import export
    from engine.inference.trained import find

    weights, config, note = find(arguments.weights, arguments.config, arguments.override)
    if note:
        print(note)
    output = arguments.output or weights.parent / arguments.format
    files, lines = export(weights, config, arguments.format, output)
    print(*lines, sep="\n")
    print("written:", ", ".join(map(str, files)))


if __name__ == "__main__":
    run(main)
