"""What the explorer computes: one or two models look at the same picture, and a region of it is chosen."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from common.errors import InputError
from data import pictures
from engine.config import build
from engine.errors import UserError
from engine.inference.attention import Observed, checked, observe, refuse_export
from engine.inference.trained import FROM_DATA, Trained
from models.attended import Attended, of_head

TOP = 5
OPTIONS = "--weights", "--compare"  # what gives the models, in their order
Region = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture as each model sees it.

    Attributes:
        name: what the user calls it.
        label: the name of its class, where the data set says it.
        observed: by model.
    """

    name: str
    label: str | None
    observed: tuple[Observed, ...]


@dataclass(frozen=True)
class Numbers:
    """What a stage's panels say in numbers; all but the region are shares from 0 to 1.

    Attributes:
        most: the region that gets most of the chosen region's RSA; `most_share` is its share.
        own: the share of RSA that stays on the chosen region.
        regional, local: the share of LSA on the regional token, of the regional and of the mean local token.
        inside: the share of the rollout that lies inside the chosen region.
        padding: the share of the rollout that fell on padding.
    """

    most: Region
    most_share: float
    own: float
    regional: float
    local: float
    inside: float
    padding: float


class Explorer:
    """One or two models that look at pictures, one picture at a time, whoever asks.

    Raises:
        UserError: a model is an export or outputs NaN, or two models have different classes.
    """

    def __init__(self, models: Sequence[Trained]):
        for model, option in zip(models, OPTIONS, strict=False):
            refuse_export(model, option)
        self.models = tuple(models)
        named = [model.class_names() for model in models]
        self.classes, self.notes = [names for names, _ in named], [note for _, note in named if note]
        if len(models) > 1:
            _check_classes(models, self.classes)
        self._lock = threading.Lock()  # recording attention adds hooks to a model, and CPU settings are a process's
        try:
            self.pictures, self.no_pictures = len(models[0].dataset.val), ""
        except InputError as error:
            self.pictures, self.no_pictures = 0, str(error)
        side = build.side(models[0].config)
        self.first = self._observe("", np.zeros((side, side, 3), np.uint8))  # so that bad weights are found at once

    def look(self, picture: str | Path) -> Seen:
        """Let the models look at a picture: a file, or "val:N" as `Trained.picture` takes it.

        Raises:
            PictureError: the picture cannot be read; the message has its name without its folder.
        """
        name = str(picture) if str(picture).startswith(FROM_DATA) else Path(picture).name
        try:
            with self._lock:
                image = self.models[0].picture(picture)
                label = self._label(name) if name == str(picture) else None
            return Seen(name, label, self._observe(str(picture), image))
        except pictures.PictureError as error:
            raise pictures.PictureError(str(error).replace(str(picture), name), place=error.place) from error

    def _observe(self, picture: str, image: np.ndarray) -> tuple[Observed, ...]:
        """Observe the models over a picture in the form of the first model's data set."""
        found = []
        with self._lock:
            for model in self.models:
                paddle.set_device(model.device)  # a server calls from threads of its own
                side = build.side(model.config)
                of_own_side = side == len(image) or not picture or picture.startswith(FROM_DATA)
                found.append(observe(model, pictures.to_side(image, side) if of_own_side else model.picture(picture)))
        return tuple(found)

    def _label(self, name: str) -> str:
        split = self.models[0].dataset.val
        return self.classes[0][int(split.labels[int(name.removeprefix(FROM_DATA))])]

    def top(self, seen: Seen) -> list[list[tuple[str, float]]]:
        """Return the likeliest classes and their probabilities, the most likely first, for each model."""
        return [
            [(names[i], float(of.probabilities[i])) for i in np.argsort(-of.probabilities, kind="stable")[:TOP]]
            for names, of in zip(self.classes, seen.observed, strict=True)
        ]


def _check_classes(models: Sequence[Trained], classes: Sequence[Sequence[str]]) -> None:
    """Raise UserError unless both models have classes of the same names; their order may differ."""
    one, other = map(set, classes)
    if one != other:
        only = [f"only {model.weights} has {_some(names)}"
                for model, names in zip(models, (one - other, other - one), strict=True) if names]  # fmt: skip
        raise UserError(
            f"{OPTIONS[1]} {models[1].weights}: its classes are not those of {models[0].weights}: {'; '.join(only)}",
            key=OPTIONS[1],
            value=str(models[1].weights),
            place=models[1].weights,
        )


def _some(names: set[str]) -> str:
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def read_number(text: object, count: int) -> str:
    """Return the name "val:N" of a validation picture, for what a user typed as its number; UserError otherwise."""
    number = str(text).strip()
    if not re.fullmatch("[0-9]{1,9}", number) or int(number) >= count:
        raise UserError(
            f"picture {number or 'without a number'}: expected a number from 0 to {count - 1}",
            key="picture",
            value=number,
        )
    return f"{FROM_DATA}{int(number)}"


def read_region(text: str, observed: Observed) -> Region:
    """Return the region of the first stage's grid that a user typed, as in "3,4"; UserError if there is none such."""
    grid = observed.maps[0].grid
    if not (match := re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text, re.ASCII)):
        raise UserError(f"region {text}: expected a row and a column, as in 0,{grid[1] - 1}", key="region", value=text)
    return checked((int(match[1]), int(match[2])), grid, key="region")


def region_at(observed: Observed, x: float, y: float) -> Region:
    """Return the region of the first stage that holds a point of the picture, given as shares of its width and height.

    A point outside counts as the nearest one inside.
    """
    edges = observed.at((0, 0), [0] * len(observed.maps))[0].place.edges
    inside = np.clip([y * observed.side, x * observed.side], 0, np.nextafter(observed.side, 0))
    row, column = np.searchsorted(edges, inside, side="right") - 1
    return int(row), int(column)


def same_region(observed: Observed, region: Region, other: Observed) -> Region:
    """Return the region of another model's grid that holds the middle of a model's region."""
    y, x = (edges.mean() / observed.side for edges in observed.at(region, [0] * len(observed.maps))[0].place.box())
    return region_at(other, x, y)


def numbers(stage: Attended, head: int | None) -> Numbers:
    """Return what a stage's panels show in numbers, for one head or the mean of all."""
    rsa = of_head(stage.rsa, head)
    row, column = np.unravel_index(int(rsa.argmax()), rsa.shape)
    (top, bottom), (left, right) = stage.place.box()
    return Numbers(
        most=(int(row), int(column)),
        most_share=float(rsa.max()),
        own=float(rsa[stage.place.region]),
        regional=float(of_head(stage.regional.regional, head)),
        local=float(of_head(stage.local.regional, head)),
        inside=float(stage.rollout[top:bottom, left:right].sum(dtype="float64")),
        padding=max(0.0, 1 - float(stage.rollout.sum(dtype="float64"))),
    )
