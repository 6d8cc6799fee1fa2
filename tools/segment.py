"""Train and try a PaddleSeg model with RegionViT as its backbone.

train trains the model of a config in PaddleSeg's format, and writes weights, the config as it was used, and the best
weights by the mean IoU on the validation pictures into --output. predict writes each PICTURE (a file or a folder) with
its predicted map over it as a PNG into --output, and prints which share of it each class has.

exit status: 0: success; 2: the config, the weights, a picture or the arguments cannot be used.
"""

import _environment  # noqa: F401
import _jobs

from engine.cli import run


def main() -> None:
    parser = _jobs.parser(
        __doc__,
        "python tools/segment.py train -c integrations/configs/upernet_regionvit_shapes.yml",
        library="PaddleSeg",
        override="iters=100",
        output="output/segment",
    )
    arguments = _jobs.parse(parser)
    _jobs.begin(arguments, "paddleseg")
    from integrations import segmentation  # imports PaddleSeg

    if arguments.job == "train":
        segmentation.train(arguments.config, arguments.override, arguments.output, arguments.seed)
        return
    files = _jobs.pictures(arguments)
    for line in segmentation.predict(arguments.config, arguments.override, arguments.weights, files, arguments.output):
        print(line)


if __name__ == "__main__":
    run(main)
