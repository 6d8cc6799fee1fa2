"""Train and try a PaddleDetection model with RegionViT as its backbone.

train trains the model of a config in PaddleDetection's format, and writes its weights into --output. predict writes
each PICTURE (a file or a folder) with the boxes and masks found in it as a PNG into --output, and prints them.

exit status: 0: success; 2: the config, the weights, a picture or the arguments cannot be used.
"""

import _environment  # noqa: F401

from engine.cli import Parser, run

JOBS = ("train", "predict")
WINDOW = 10  # steps whose mean loss is shown


def main() -> None:
    parser = Parser(__doc__, "python tools/detect.py train -c integrations/configs/retinanet_regionvit_shapes.yml")
    parser.add_argument("job", choices=JOBS, help="what to do")
    parser.add_argument("pictures", metavar="PICTURE", nargs="*", help="of predict: a file or a folder")
    parser.add_argument("-c", "--config", metavar="FILE", required=True, help="YAML config in PaddleDetection's format")
    parser.add_argument(
        "-o",
        "--override",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override an entry of the config, as in -o epoch=1; repeatable",
    )
    parser.add_argument("--weights", metavar="FILE", help="of predict: a .pdparams file that train wrote")
    parser.add_argument(
        "--output", metavar="DIR", default="output/detect", help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--eval", action="store_true", help="of train: also measure the average precision")
    parser.add_argument(
        "--threshold", metavar="P", type=float, default=0.5, help="of predict: the least score (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, gpu, gpu:N or cpu (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of train (default: %(default)s)")
    arguments = parser.parse_intermixed_args()
    if not 0 <= arguments.seed < 2**32:
        parser.error(f"argument --seed: {arguments.seed}: give 0 to {2**32 - 1}")
    if not 0 <= arguments.threshold <= 1:
        parser.error(f"argument --threshold: {arguments.threshold}: give 0 to 1")
    if arguments.job == "predict" and not (arguments.weights and arguments.pictures):
        parser.error("predict needs --weights and a PICTURE")
    if arguments.job == "train" and (arguments.weights or arguments.pictures):
        parser.error("train takes neither --weights nor a PICTURE")

    from data import pictures
    from engine.system.device import select_device
    from integrations.libraries import need

    need("ppdet")
    select_device(arguments.device)
    from integrations import detection  # imports PaddleDetection

    settings = arguments.config, arguments.override
    if arguments.job == "train":
        _, losses = detection.train(*settings, arguments.output, arguments.eval, arguments.seed)
        first, last = (sum(part) / len(part) for part in (losses[:WINDOW], losses[-WINDOW:]))
        print(
            f"{arguments.output}: {len(losses)} steps; mean loss of {WINDOW}: {first:.3f} at first, {last:.3f} at last"
        )
        return
    files, left_out = pictures.find(arguments.pictures)
    print(*left_out, sep="\n", end="\n" * bool(left_out))
    detector = detection.Detector(*settings, arguments.weights)
    for line in detection.predict(detector, files, arguments.output, arguments.threshold):
        print(line)


if __name__ == "__main__":
    run(main)
