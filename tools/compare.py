"""Compare runs: the settings that differ, their results, and their learning curves in one figure.

Runs that differ by their seed alone are grouped: mean, deviation and interval. Two groups, or two single runs, that
eval.py has measured on the same pictures are compared picture by picture.

Prints the tables as Markdown, and writes them and the curves as comparison.md and comparison.png. Runs may still be in
progress.
"""

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/compare.py output/tiny_cifar10 output/small_cifar10")
    parser.add_argument("runs", nargs="+", metavar="OUTPUT", help="output folders of two or more runs, or of repeat.py")
    parser.add_argument(
        "--output", default="comparison", metavar="DIR", help="the folder to write into (default: %(default)s)"
    )
    arguments = parser.parse_args()

    from engine.evaluation import compare
    from engine.evaluation.runs import read_runs

    runs = read_runs(arguments.runs)
    tables = compare.tables(runs)
    files = compare.write(runs, tables, arguments.output)
    print(tables)
    print("written:", ", ".join(map(str, files)))


if __name__ == "__main__":
    run(main)
