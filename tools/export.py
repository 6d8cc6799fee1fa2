"""Export a trained model as a program that needs none of this project's code: for Paddle Inference, or as ONNX.

The export is a folder with inference.json (with Paddle 2.6: inference.pdmodel) and inference.pdiparams, or
inference.onnx; preprocessing.json, which describes how to prepare a picture; and config.yaml. It takes batches of any
size. Before it is written, it is run and compared with the model.

With --format web it is ONNX with a page that classifies pictures in the browser: any static server can serve the
folder. onnxruntime-web for it is fetched with npm.

With --features it is a backbone for detection, segmentation and the like: instead of logits it returns the feature map
of each stage. The weights may also be those of a detector or segmenter whose backbone has this project's names.

With --precision int8 (for CPUs) or float16 (for GPUs) it is also compared with float32 on the config's validation
pictures: accuracy, logits, size and speed. It is not written if it loses more accuracy than --most-lost.
"""

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/export.py --weights output/demo/best_model.pdparams --format onnx")
    parser.add_weights()
    parser.add_config()
    parser.add_argument("--format", choices=("paddle", "onnx", "web"), default="paddle", help="default: %(default)s")
    parser.add_argument("--features", action="store_true", help="return the feature maps of all stages, not logits")
    parser.add_argument(
        "--size",
        metavar=("HEIGHT", "WIDTH"),
        nargs="+",
        type=int,
        help="of the pictures for --features, in pixels; one number: both; default: the config's data.image_size",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "int8", "float16"),
        default="float32",
        help="of onnx and web; inputs and outputs stay float32 (default: %(default)s)",
    )
    parser.add_argument(
        "--most-lost",
        metavar="POINTS",
        type=float,
        help="the most percentage points of accuracy that int8 or float16 may cost; default: 0.5",
    )
    parser.add_argument(
        "--onnxruntime-web", metavar="DIR", help="for web: the unpacked npm package, instead of fetching it with npm"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="the folder of the export; default: paddle, onnx, onnx_int8, web or the like beside FILE",
    )
    arguments = parser.parse_args()
    if arguments.features and arguments.format == "web":
        parser.error("argument --features: not with --format web, whose page shows classes")
    if arguments.features and arguments.precision != "float32":
        parser.error(
            f"argument --precision: {arguments.precision}: not with --features, which have no accuracy to lose"
        )
    if arguments.size and not arguments.features:
        parser.error("argument --size: only with --features; the size for logits is -o data.image_size=SIDE")
    if arguments.size and (len(arguments.size) > 2 or not all(32 <= side <= 4096 for side in arguments.size)):
        given = " ".join(map(str, arguments.size))
        parser.error(f"argument --size: {given}: give a height and a width of 32 to 4096 pixels, or one for both")
    if arguments.precision != "float32" and arguments.format == "paddle":
        parser.error(f"argument --precision: {arguments.precision}: add --format onnx or web")
    if arguments.onnxruntime_web and arguments.format != "web":
        parser.error("argument --onnxruntime-web: only with --format web")
    if arguments.most_lost is not None and arguments.precision == "float32":
        parser.error("argument --most-lost: only with --precision int8 or float16")
    if arguments.most_lost is not None and not arguments.most_lost >= 0:
        parser.error(f"argument --most-lost: {arguments.most_lost:g}: give 0 or more")

    from engine import filenames
    from engine.inference import cost, web
    from engine.inference.export import export
    from engine.inference.trained import find

    weights, config, note = find(arguments.weights, arguments.config, arguments.override)
    if note:
        print(note)
    output = arguments.output or weights.parent / filenames.export(
        arguments.format, arguments.precision, arguments.features
    )
    most_lost = cost.MOST_LOST if arguments.most_lost is None else arguments.most_lost
    if arguments.format == "web":
        files, lines = web.export(weights, config, output, arguments.precision, most_lost, arguments.onnxruntime_web)
    else:
        size = None
        if arguments.features:
            height, *width = arguments.size or [config.data.image_size]
            size = (height, *(width or [height]))
        files, lines = export(weights, config, arguments.format, output, arguments.precision, most_lost, size)
    print(*lines, sep="\n")
    print("written:", ", ".join(map(str, files)))


if __name__ == "__main__":
    run(main)
