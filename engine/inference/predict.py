"""Classifying pictures with a trained model; the results as lines, as JSON and as a grid."""

import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.figure import Figure

from data.pictures import PictureError
from engine import filenames
from engine.figures.curves import as_png
from engine.figures.fonts import width
from engine.figures.predictions import picture_grid, short
from engine.inference.trained import Trained
from engine.system import atomic

BATCH = 64  # pictures read and classified together
DRAWN = 36  # the most pictures in a grid
MEMORY = 1 << 20  # bytes of answers that stay in memory
COLUMN = 40  # the widest column of names, in letters


@dataclass(frozen=True)
class Prediction:
    """A picture, as the model was given it, and its likeliest classes, the most likely first."""

    picture: str
    image: np.ndarray  # uint8 [side, side, 3]
    top: list[dict[str, Any]]  # {"class": its name, "index": among the model's outputs, "probability"} for each


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read, and why."""

    picture: str
    error: str


def predict(
    trained: Trained, names: Iterable[str | Path], classes: Sequence[str], top: int = 5
) -> Iterator[Prediction | Skipped]:
    """Yield a `Prediction` or `Skipped` for each picture, in order, keeping at most one batch in memory.

    Args:
        names: files, or "val:N"; see `Trained.picture`.
        classes: the names of the model's classes.
        top: how many of the likeliest classes; all of them if the model has fewer.

    Raises:
        DataError: the data set that a picture belongs to cannot be used.
        UserError: the model outputs NaN.
    """
    remaining = map(str, names)
    while batch := list(itertools.islice(remaining, BATCH)):
        images: dict[int, np.ndarray] = {}
        skipped: dict[int, Skipped] = {}
        probabilities: dict[int, np.ndarray] = {}
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


class Answers:
    """The answers so far: on disk, so that their number does not matter, and the first `DRAWN` predictions to draw.

    A context, which removes the temporary file. The document notes the temperature of the probabilities.
    """

    def __init__(self, draws: bool = False, temperature: float = 1.0):
        self.draws, self.drawn, self.temperature = draws, list[Prediction](), temperature
        self._file: IO[str] = tempfile.SpooledTemporaryFile(MEMORY, "w+", encoding="ascii")  # noqa: SIM115

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, answer: Prediction | Skipped) -> None:
        """Note an answer."""
        if isinstance(answer, Skipped):
            entry: dict[str, Any] = {"picture": answer.picture, "error": answer.error}
        else:
            entry = {"picture": answer.picture, "top": answer.top}
            if self.draws and len(self.drawn) < DRAWN:
                self.drawn.append(answer)
        self._file.write(json.dumps(entry) + "\n")

    def document(self, ensure_ascii: bool = True) -> Iterator[str]:
        """Yield one JSON document in parts: temperature, predictions, and why each skipped picture could not be read.

        ensure_ascii: escape all other letters, so that any terminal can print it.
        """
        yield f'{{\n  "temperature": {json.dumps(self.temperature)},\n  "predictions": '
        yield from _array(self._entries("top"), ensure_ascii)
        yield ',\n  "errors": '
        yield from _array(self._entries("error"), ensure_ascii)
        yield "\n}"

    def _entries(self, kind: str) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        yield from (entry for entry in map(json.loads, self._file) if kind in entry)


def _array(entries: Iterable[dict[str, Any]], ensure_ascii: bool) -> Iterator[str]:
    """Yield a JSON array in parts, as `json.dumps` with an indent of 2 writes it as a value of a document."""
    begin = "["
    for entry in entries:
        text = json.dumps(entry, indent=2, ensure_ascii=ensure_ascii)
        yield begin + "\n    " + text.replace("\n", "\n    ")
        begin = ","
    yield "[]" if begin == "[" else "\n  ]"


def columns(names: Iterable[str | Path], classes: Iterable[str]) -> tuple[int, int]:
    """Return the widths of the columns of pictures and of classes."""
    pictures, labels = (max(width(printable(str(x))) for x in texts) for texts in (names, classes))
    return min(COLUMN, pictures), labels


def as_line(prediction: Prediction, widths: tuple[int, int]) -> str:
    """Return a prediction as one line with columns: the picture, its likeliest class, the other classes."""
    first, *others = [(printable(guess["class"]), f"{guess['probability']:.1%}") for guess in prediction.top]
    rest = ", ".join(" ".join(guess) for guess in others)
    picture, likeliest = map(_padded, (printable(prediction.picture), first[0]), widths)
    return f"{picture}  {likeliest}  {first[1]:>6}  {rest}".rstrip()


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def printable(text: str) -> str:
    """Return text for one line of a terminal: line breaks and other unprintable characters are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def grid(predictions: Sequence[Prediction]) -> Figure:
    """Draw pictures as the model was given them, each under its likeliest class and its name."""
    names = [short(printable(Path(x.picture).name)) for x in predictions]
    titles = [
        f"{short(printable(x.top[0]['class']))} {x.top[0]['probability']:.0%}\n{name}"
        for x, name in zip(predictions, names, strict=True)
    ]
    return picture_grid([x.image for x in predictions], titles, columns=min(6, len(predictions)))


def write(answers: Answers, output: str | Path) -> list[Path]:
    """Write predictions into a folder, as JSON and as a grid of the first pictures; return the files written."""
    written = [Path(output) / filenames.PREDICTIONS]

    def write_document(path: Path) -> None:
        with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            stream.writelines(answers.document(ensure_ascii=False))
            stream.write("\n")

    with atomic.writing_into(output):
        atomic.replace({written[0]: write_document})
        if answers.drawn:
            written.append(Path(output) / filenames.PREDICTIONS_GRID)
            written[-1].write_bytes(as_png(grid(answers.drawn)))
    return written


def _likeliest(probabilities: np.ndarray, classes: Sequence[str], top: int) -> list[dict[str, Any]]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [{"class": classes[i], "index": int(i), "probability": float(probabilities[i])} for i in order]
