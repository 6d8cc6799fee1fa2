"""Convert weights between the official RegionViT's (.pth, torch) and this project's (.pdparams, Paddle).

The suffixes tell the direction. The variant is recognised, and every name and shape has to fit it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.cli import Parser, run
from engine.errors import UserError


def main():
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


def check(source, target, overwrite):
    """Raise a UserError if the two paths cannot be right, before anything is read."""
    if {source.suffix, target.suffix} != {".pth", ".pdparams"}:
        raise UserError(f"{source} to {target}: one has to end in .pth and the other in .pdparams; rename it")
    try:
        if target.exists() and source.exists() and target.samefile(source):
            raise UserError(f"{source} and {target} are one file: choose another for the result")
        if target.is_dir() or (target.exists() and not overwrite):
            raise UserError(f"{target} exists: choose another name, or replace a file with --overwrite")
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error}): choose another") from error


def from_torch(source, target):
    from engine import checkpoint, torch_files, torch_weights

    arrays, found = torch_files.read(source)
    arrays, done = torch_weights.to_paddle(arrays, source)
    model = torch_weights.recognise(arrays, source)
    make_folder(target)
    checkpoint.save({target: arrays})
    return model, count(arrays), found + done


def to_torch(source, target):
    from engine import checkpoint, torch_files, torch_weights

    arrays = checkpoint.first_names(checkpoint.read(source), source)
    found = torch_files.cast_lines(array.dtype for array in arrays.values())
    arrays = {key: array.astype("float32") for key, array in arrays.items()}
    model = torch_weights.recognise(arrays, source)
    make_folder(target)
    state, done = torch_weights.to_torch(arrays)
    torch_files.write(state, target)
    return model, count(arrays), found + done


def make_folder(target):
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error}): choose another") from error


def count(arrays):
    return sum(array.size for array in arrays.values())


if __name__ == "__main__":
    run(main)
