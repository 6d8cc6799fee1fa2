"""Train and try a PaddleSeg model with RegionViT as its backbone.

train trains the model of a config in PaddleSeg's format, and writes weights, the config as it was used, and the best
weights by the mean IoU on the validation pictures into --output. predict writes each PICTURE (a file or a folder) with
its predicted map over it as a PNG into --output, and prints which share of it each class has.

exit status: 0: success; 2: the config, the weights, a picture or the arguments cannot be used.
"""

import _environment  # noqa: F401

from engine.cli import Parser, run

JOBS = ("train", "predict")


def main() -> None:
    parser = Parser(__doc__, "python tools/segment.py train -c integrations/configs/upernet_regionvit_shapes.yml")
    parser.add_argument("job", choices=JOBS, help="what to do")
    parser.add_argument("pictures", metavar="PICTURE", nargs="*", help="of predict: a file or a folder")
    parser.add_argument("-c", "--config", metavar="FILE", required=True, help="YAML config in PaddleSeg's format")
    parser.add_argument(
        "-o",
        "--override",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override an entry of the config, as in -o iters=100; repeatable",
    )
    parser.add_argument("--weights", metavar="FILE", help="of predict: a .pdparams file that train wrote")
    parser.add_argument(
        "--output", metavar="DIR", default="output/segment", help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, gpu, gpu:N or cpu (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of train (default: %(default)s)")
    arguments = parser.parse_intermixed_args()
    if not 0 <= arguments.seed < 2**32:
        parser.error(f"argument --seed: {arguments.seed}: give 0 to {2**32 - 1}")
    if arguments.job == "predict" and not (arguments.weights and arguments.pictures):
        parser.error("predict needs --weights and a PICTURE")
    if arguments.job == "train" and (arguments.weights or arguments.pictures):
        parser.error("train takes neither --weights nor a PICTURE")

    from data import pictures
    from engine.system.device import select_device
    from integrations.libraries import need

    need("paddleseg")
    select_device(arguments.device)
    from integrations import segmentation  # imports PaddleSeg

    if arguments.job == "train":
        segmentation.train(arguments.config, arguments.override, arguments.output, arguments.seed)
        return
    files, left_out = pictures.find(arguments.pictures)
    print(*left_out, sep="\n", end="\n" * bool(left_out))
    for line in segmentation.predict(arguments.config, arguments.override, arguments.weights, files, arguments.output):
        print(line)


if __name__ == "__main__":
    run(main)
