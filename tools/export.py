"""Export a trained model as a program that needs none of this project's code: for Paddle Inference, or as ONNX.

Into a folder go inference.json (with Paddle 2.6: inference.pdmodel) and inference.pdiparams, or inference.onnx;
preprocessing.json, which says how a picture becomes what the program takes; and config.yaml. Batches are of any size,
the numbers float32. The export is run, and compared with the model, before it is put there.
"""

from engine.cli import Parser, run


def main():
    parser = Parser(__doc__, "python tools/export.py --weights output/demo/best_model.pdparams --format onnx")
    parser.add_weights()
    parser.add_config()
    parser.add_argument("--format", choices=("paddle", "onnx"), default="paddle", help="default: %(default)s")
    parser.add_argument("--output", metavar="DIR", help="where it goes; default: paddle or onnx beside FILE")
    arguments = parser.parse_args()

    from engine.inference.export import export
    from engine.inference.trained import find

    weights, config, note = find(arguments.weights, arguments.config, arguments.override)
    if note:
        print(note)
    output = arguments.output or weights.parent / arguments.format
    files, told = export(weights, config, arguments.format, output)
    print(*told, sep="\n")
    print("written:", ", ".join(map(str, files)))


if __name__ == "__main__":
    run(main)
