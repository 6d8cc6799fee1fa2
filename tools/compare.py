"""Compare runs: the settings that differ, their results, and their learning curves in one figure.

Prints the tables as Markdown, and writes them and the curves as comparison.md and comparison.png. Runs may still be in
progress.
"""

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/compare.py output/tiny_cifar10 output/small_cifar10")
    parser.add_argument("runs", nargs="+", metavar="OUTPUT", help="two or more output folders of runs")
    parser.add_argument(
        "--output", default="comparison", metavar="DIR", help="the folder to write into (default: %(default)s)"
    )
    arguments = parser.parse_args()

    from engine.evaluation import compare

    runs = compare.read_runs(arguments.runs)
    files = compare.write(runs, arguments.output)
    print(compare.tables(runs))
    print("written:", ", ".join(map(str, files)))


if __name__ == "__main__":
    run(main)
