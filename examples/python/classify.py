"""The command line of the examples: an export's folder and pictures in, class names with probabilities out."""

import argparse
import json
from pathlib import Path

from steps import follow


def read(folder, format):
    """Return what preprocessing.json says of the export in a folder, which has to be in this format."""
    description = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    if description["format"] != format:
        raise ValueError(f"its format is {description['format']}, expected {format}")
    if "steps" not in description:
        raise ValueError("an older export, without steps: export again")
    if description.get("task") == "features":
        raise ValueError("it returns feature maps, expected classes: export without --features")
    return description


def likeliest(probabilities, classes, count=5):
    """Return the likeliest classes as pairs (probability, name), the most likely first."""
    names = classes or [f"class {i}" for i in range(len(probabilities))]
    return sorted(zip(probabilities, names, strict=True), reverse=True)[:count]


def main(format, load):
    """Classify the pictures that the command line names; `load` makes a function of the program in a folder."""
    parser = argparse.ArgumentParser(description=f"Classify pictures with an export in the format {format}.")
    parser.add_argument("export", type=Path, metavar="EXPORT", help="its folder")
    parser.add_argument("pictures", type=Path, metavar="PICTURE", nargs="+")
    arguments = parser.parse_args()
    about = arguments.export
    try:
        description, run = read(about, format), load(about)
        for about in arguments.pictures:
            (probabilities,) = follow(description["steps"], about, run)
            print(about)
            for probability, name in likeliest(probabilities, description["classes"]):
                print(f"  {probability:.5f}  {name}")
    except Exception as error:  # each library raises its own
        parser.exit(2, f"{about}: {type(error).__name__}: {' '.join(str(error).split())}\n")
