"""Convert weights between the official RegionViT's (.pth, torch) and this project's (.pdparams, Paddle).

The suffixes give the direction. The variant is detected; every name and shape must match it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _environment  # noqa: F401

from engine.cli import Parser, run
from engine.errors import UserError

Converted = tuple[tuple[str, int], int, list[str]]  # variant and classes, number of parameters, lines to print


def main() -> None:
    parser = Parser(__doc__, "python tools/convert_weights.py RegionViT-Ti.pth RegionViT-Ti.pdparams")
    parser.add_argument("source", type=Path, metavar="IN", help="a .pth or .pdparams file")
    parser.add_argument("target", type=Path, metavar="OUT", help="a file of the other kind")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    arguments = parser.parse_args()
    source, target = arguments.source, arguments.target
    check(source, target, arguments.overwrite)

    convert = from_torch if source.suffix == ".pth" else to_torch
    (name, classes), parameters, lines = convert(source, target)
    for line in lines:
        print(line)
    print(f'{target}: build_model("{name}", num_classes={classes}), {parameters:,} parameters')


def check(source: Path, target: Path, overwrite: bool) -> None:
    """Raise a UserError if the paths are invalid, before anything is read."""
    if {source.suffix, target.suffix} != {".pth", ".pdparams"}:
        raise UserError(
            f"{source} to {target}: one must end in .pth and the other in .pdparams: rename it", key="OUT", place=target
        )
    try:
        if target.exists() and source.exists() and target.samefile(source):
            raise UserError(f"{source} and {target} are the same file: choose another OUT", key="OUT", place=target)
        if target.is_dir() or (target.exists() and not overwrite):
            raise UserError(
                f"{target} exists: choose another name, or replace a file with --overwrite", key="OUT", place=target
            )
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error}): choose another", key="OUT", place=target) from error


def from_torch(source: Path, target: Path) -> Converted:
    from engine.weights import official, pdparams, pth

    arrays, found = pth.read(source)
    arrays, done = official.to_paddle(arrays, source)
    model = official.recognise(arrays, source)
    make_folder(target)
    pdparams.save({target: arrays})
    return model, count(arrays), found + done


def to_torch(source: Path, target: Path) -> Converted:
    from engine.weights import official, pdparams, pth

    arrays = pdparams.first_names(pdparams.read(source), source)
    found = pth.cast_lines(array.dtype for array in arrays.values())
    arrays = {key: array.astype("float32") for key, array in arrays.items()}
    model = official.recognise(arrays, source)
    make_folder(target)
    state, done = official.to_torch(arrays)
    pth.write(state, target)
    return model, count(arrays), found + done


def make_folder(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error}): choose another", key="OUT", place=target) from error


def count(arrays: Mapping[str, Any]) -> int:
    return sum(array.size for array in arrays.values())


if __name__ == "__main__":
    run(main)
