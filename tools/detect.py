"""Train and try a PaddleDetection model with RegionViT as its backbone.

train trains the model of a config in PaddleDetection's format, and writes its weights into --output. predict writes
each PICTURE (a file or a folder) with the boxes and masks found in it as a PNG into --output, and prints them.

exit status: 0: success; 2: the config, the weights, a picture or the arguments cannot be used.
"""

import _environment  # noqa: F401
import _jobs

from engine.cli import run

WINDOW = 10  # steps whose mean loss is shown


def main() -> None:
    parser = _jobs.parser(
        __doc__,
        "python tools/detect.py train -c integrations/configs/retinanet_regionvit_shapes.yml",
        library="PaddleDetection",
        override="epoch=1",
        output="output/detect",
    )
    parser.add_argument("--eval", action="store_true", help="of train: also measure the average precision")
    parser.add_argument(
        "--threshold", metavar="P", type=float, default=0.5, help="of predict: the least score (default: %(default)s)"
    )
    arguments = _jobs.parse(parser)
    if not 0 <= arguments.threshold <= 1:
        parser.error(f"argument --threshold: {arguments.threshold}: give 0 to 1")
    _jobs.begin(arguments, "ppdet")
    from integrations import detection  # imports PaddleDetection

    settings = arguments.config, arguments.override
    if arguments.job == "train":
        _, losses = detection.train(*settings, arguments.output, arguments.eval, arguments.seed)
        first, last = (sum(part) / len(part) for part in (losses[:WINDOW], losses[-WINDOW:]))
        print(
            f"{arguments.output}: {len(losses)} steps; mean loss of {WINDOW}: {first:.3f} at first, {last:.3f} at last"
        )
        return
    files = _jobs.pictures(arguments)
    detector = detection.Detector(*settings, arguments.weights)
    for line in detection.predict(detector, files, arguments.output, arguments.threshold):
        print(line)


if __name__ == "__main__":
    run(main)
