"""Say what a trained model takes pictures for: a line a picture, with its five likeliest classes.

PICTURE is a JPEG or PNG of any size and mode, a folder (its pictures, in the order of their names), or val:N (the
config's validation picture number N, from 0). A picture is first made like the data set's (its middle square, reduced
by area to 32 x 32, of a folder's to data.side), then prepared as evaluation prepares those.

exit status: 0: all pictures were read; 1: some were not, each is named on stderr; 2: weights, config or arguments
cannot be used.
"""

import os
import sys

from engine.cli import Parser, run

SOME_SKIPPED = 1


def main():
    parser = Parser(__doc__, "python tools/predict.py --weights best_model.pdparams photo.jpg photos/ val:0")
    parser.add_weights(exports=True)
    parser.add_config()
    parser.add_argument("pictures", metavar="PICTURE", nargs="+", help="a file, a folder, or val:N")
    parser.add_argument("--top", metavar="N", type=int, default=5, help="classes a picture (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document in place of lines")
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="also write predictions.json there, and predictions.png, a grid of the first pictures",
    )
    arguments = parser.parse_args()
    if arguments.top < 1:
        parser.error(f"argument --top: {arguments.top}: give 1 or more")

    from data import pictures
    from engine.inference import predict as prediction, trained as trained_models
    from engine.system.atomic import writing_into

    names = pictures.find(arguments.pictures)
    weights, config, note = trained_models.find(arguments.weights, arguments.config, arguments.override)
    if note:
        tell(note)
    if arguments.output:
        with writing_into(arguments.output):
            pass  # if that fails, better now than after the predictions
    trained = trained_models.load(weights, config)
    classes, note = trained.class_names()
    if note:
        tell(note)
    widths, answers = prediction.columns(names, classes), []
    for answer in prediction.predict(trained, names, classes, arguments.top):
        answers.append(answer)
        if isinstance(answer, prediction.Skipped):
            tell(f"skipped: {answer.error}")
        elif not arguments.json:
            say(prediction.as_line(answer, widths))
    if arguments.json:
        say(prediction.as_json(answers))
    if arguments.output:
        tell(f"written: {', '.join(map(str, prediction.write(answers, arguments.output)))}")
    if any(isinstance(answer, prediction.Skipped) for answer in answers):
        sys.exit(SOME_SKIPPED)


def say(text):
    try:
        print(text, flush=True)
    except BrokenPipeError:  # whoever read along, as `head` does, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends


def tell(note):
    """Say on stderr what is no prediction, on one line whatever a name in it holds."""
    from engine.inference.predict import printable

    print(printable(note), file=sys.stderr)


if __name__ == "__main__":
    run(main)
