"""What a trained model takes pictures for, told to people and to programs."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.pictures import PictureError
from engine import filenames
from engine.figures import curves, predictions as figures
from engine.system import atomic

BATCH = 64  # pictures that are read, and go through the model, at a time
DRAWN = 36  # pictures in the grid at most
COLUMN = 40  # letters up to which the lines' column of names grows


@dataclass(frozen=True)
class Prediction:
    """A picture, as the model was given it, and its likeliest classes, the first one first."""

    picture: str
    image: np.ndarray  # uint8 [side, side, 3]
    top: list[dict]  # of {"class": its name, "index": among the model's outputs, "probability"}


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read, and why."""

    picture: str
    error: str


def predict(trained, names, classes, top=5):
    """Yield a `Prediction` or `Skipped` for each picture, in order, with no more than a batch of them in memory.

    Args:
        names: files, or "val:N"; see `Trained.picture`.
        classes: the names of the model's classes.
        top: so many of the likeliest classes, or all where there are fewer.

    Raises:
        UserError: a picture is of data that cannot be used, or the model does not give numbers.
    """
    names = map(str, names)
    while batch := list(itertools.islice(names, BATCH)):
        images, skipped, probabilities = {}, {}, {}
        for i, name in enumerate(batch):
            try:
                images[i] = trained.picture(name)
            except PictureError as error:
                skipped[i] = Skipped(name, str(error))
        if images:
            rows = trained.probabilities(np.stack(list(images.values())))
            probabilities = dict(zip(images, rows, strict=True))
        for i, name in enumerate(batch):
            if i in skipped:
                yield skipped[i]
            else:
                yield Prediction(name, images[i], _likeliest(probabilities[i], classes, top))


def as_json(answers, ensure_ascii=True):
    """Return predictions as one JSON document: what the readable pictures are, and why the others are not read.

    ensure_ascii: write other letters as their escapes, as any terminal can.
    """
    read = [{"picture": x.picture, "top": x.top} for x in answers if isinstance(x, Prediction)]
    errors = [{"picture": x.picture, "error": x.error} for x in answers if isinstance(x, Skipped)]
    return json.dumps({"predictions": read, "errors": errors}, indent=2, ensure_ascii=ensure_ascii)


def columns(names, classes):
    """Return how wide the columns of pictures and classes have to be."""
    of_pictures, of_classes = (max(figures.width(printable(str(x))) for x in texts) for texts in (names, classes))
    return min(COLUMN, of_pictures), of_classes


def as_line(prediction, widths):
    """Return a prediction as a line of columns: picture, likeliest class, the others."""
    first, *others = [(printable(guess["class"]), f"{guess['probability']:.1%}") for guess in prediction.top]
    rest = ", ".join(" ".join(guess) for guess in others)
    picture, likeliest = map(_padded, (printable(prediction.picture), first[0]), widths)
    return f"{picture}  {likeliest}  {first[1]:>6}  {rest}".rstrip()


def _padded(text, width):
    return text + " " * (width - figures.width(text))


def printable(text):
    """Return text for one line of a terminal: what is not to be printed, as a line break, becomes its escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def grid(predictions):
    """Draw pictures as the model was given them, each with its likeliest class and its name."""
    names = [figures.short(printable(Path(x.picture).name)) for x in predictions]
    titles = [
        f"{figures.short(printable(x.top[0]['class']))} {x.top[0]['probability']:.0%}\n{name}"
        for x, name in zip(predictions, names, strict=True)
    ]
    return figures.picture_grid([x.image for x in predictions], titles, columns=min(6, len(predictions)))


def write(answers, output):
    """Write predictions into a folder, as JSON and as a grid of the first pictures; return the files written."""
    written, predictions = (
        [Path(output) / filenames.PREDICTIONS],
        [x for x in answers if isinstance(x, Prediction)][:DRAWN],
    )
    with atomic.writing_into(output):
        atomic.replace_text(written[0], as_json(answers, ensure_ascii=False) + "\n")
        if predictions:
            written.append(Path(output) / filenames.PREDICTIONS_GRID)
            written[-1].write_bytes(curves.as_png(grid(predictions)))
    return written


def _likeliest(probabilities, classes, top):
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [{"class": classes[i], "index": int(i), "probability": float(probabilities[i])} for i in order]
