"""Classify pictures with a trained model: one line per picture, with its five likeliest classes.

PICTURE is a JPEG, PNG, WebP, BMP or GIF of any size and mode, a folder (its pictures, in the order of their names; what
else is there is named on stderr), or val:N (validation picture N of the config's data, counted from 0). A picture is
first brought into the form of the data set (its middle square, reduced by area to 32 x 32, or to data.side for a
folder), then prepared as in evaluation.

exit status: 0: all pictures were read; 1: some could not be read, each is named on stderr; 2: the weights, the config
or the arguments cannot be used.
"""

import os
import sys
from collections.abc import Iterable

import _environment  # noqa: F401

from engine.cli import Parser, run

SOME_SKIPPED = 1


def main() -> None:
    parser = Parser(__doc__, "python tools/predict.py --weights best_model.pdparams photo.jpg photos/ val:0")
    parser.add_weights(exports=True)
    parser.add_config()
    parser.add_argument("pictures", metavar="PICTURE", nargs="+", help="a file, a folder, or val:N")
    parser.add_argument("--top", metavar="N", type=int, default=5, help="classes per picture (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="also write predictions.json there, and predictions.png, a grid of the first pictures",
    )
    arguments = parser.parse_args()
    if arguments.top < 1:
        parser.error(f"argument --top: {arguments.top}: give 1 or more")

    from data import pictures
    from engine.inference.predict import Answers, Skipped, as_line, columns, predict, write
    from engine.inference.trained import find, load
    from engine.system.atomic import writing_into

    names, left_out = pictures.find(arguments.pictures)
    for line in left_out:
        log(line)
    weights, config, note = find(arguments.weights, arguments.config, arguments.override)
    if note:
        log(note)
    if arguments.output:
        with writing_into(arguments.output):
            pass  # fail before the predictions, not after them
    trained = load(weights, config)
    classes, made_up = trained.class_names()
    for line in filter(None, (made_up, trained.about_temperature)):
        log(line)
    widths, skipped = columns(names, classes), False
    with Answers(draws=bool(arguments.output), temperature=trained.temperature) as answers:
        for answer in predict(trained, names, classes, arguments.top):
            if arguments.json or arguments.output:
                answers.add(answer)
            if isinstance(answer, Skipped):
                skipped = True
                log(f"skipped: {answer.error}")
            elif not arguments.json:
                say([as_line(answer, widths)])
        if arguments.json:
            say(answers.document())
        if arguments.output:
            log(f"written: {', '.join(map(str, write(answers, arguments.output)))}")
    if skipped:
        sys.exit(SOME_SKIPPED)


def say(parts: Iterable[str]) -> None:
    """Print predictions on stdout."""
    from engine.system.terminal import reader_is_gone

    try:
        sys.stdout.writelines(parts)
        print(flush=True)
    except OSError as error:
        if not reader_is_gone(error):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at exit


def log(note: str) -> None:
    """Print anything but predictions on stderr, always as one line."""
    from engine.inference.predict import printable

    print(printable(note), file=sys.stderr)


if __name__ == "__main__":
    run(main)
