"""Execute the notebooks, on the digits and without a GPU, and store them with their new outputs."""

from pathlib import Path

import _environment  # noqa: F401

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python tools/run_notebooks.py")
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path, help="notebooks; default: all of notebooks/")
    arguments = parser.parse_args()

    from engine.notebooks.stored import notebooks, run_and_store

    for file in arguments.files or notebooks():
        print(f"{file.name}: running")
        run_and_store(file)
        print(f"{file.name}: stored, {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    run(main)
