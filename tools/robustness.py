"""Measure saved weights under the 15 corruptions of CIFAR-10-C, each at 5 severities.

With --data the pictures are those of CIFAR-10-C. Without, the corruptions are made from the config's validation
pictures, and the results cannot be compared with published ones. Prints a table as Markdown, and writes robustness.json
and a heat map, robustness.png.
"""

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/robustness.py --weights output/demo/best_model.pdparams --pictures 200")
    parser.add_weights(exports=True)
    parser.add_config()
    parser.add_argument("--data", metavar="DIR", help="CIFAR-10-C, unpacked: one .npy file for each corruption")
    parser.add_argument(
        "--frost",
        metavar="DIR",
        help="without --data: the authors' pictures of frost, frost1.png to frost5.jpg; default: frost is left out",
    )
    parser.add_argument(
        "--pictures", metavar="N", type=int, help="measure on N pictures, the same share of each class; default: all"
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, help="without --data: of the corruptions' random numbers (default: 0)"
    )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        help="robustness.json of other weights on the same pictures: also print mCE, the errors divided by its errors",
    )
    parser.add_argument("--output", metavar="DIR", help="where the results go; default: beside the weights")
    arguments = parser.parse_args()
    if arguments.data:
        for name in ("frost", "seed"):
            if getattr(arguments, name) is not None:
                parser.error(f"argument --{name}: does nothing with --data")
    if arguments.seed is not None and not 0 <= arguments.seed < 2**32:
        parser.error(f"argument --seed: {arguments.seed}: give 0 to {2**32 - 1}")

    from pathlib import Path

    from engine import filenames
    from engine.evaluation.robustness import measure_robustness, table
    from engine.inference.trained import find

    weights, config, note = find(arguments.weights, arguments.config, arguments.override)
    if note:
        print(note)
    output = Path(arguments.output or weights.parent)
    measured = measure_robustness(
        weights,
        config,
        output,
        arguments.data,
        arguments.frost,
        arguments.pictures,
        arguments.seed or 0,
        arguments.baseline,
    )
    print(table(measured))
    print("\nwritten:", ", ".join(str(output / name) for name in (filenames.ROBUSTNESS, filenames.ROBUSTNESS_MAP)))


if __name__ == "__main__":
    run(main)
