"""The attention of a trained model over one picture: as arrays, and as figures in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import UserError
from engine.figures.attention import lsa_figure, rollout_figure, rsa_figure
from engine.figures.curves import as_png
from engine.inference.program import Exported
from engine.inference.trained import Trained
from engine.system.atomic import writing_into
from models.attended import Attended, Encoder, attended, places
from models.attention_maps import StageAttention, attention_maps
from models.rollout import rollout


@dataclass(frozen=True, eq=False)
class Observed:
    """A picture as a model sees it, and all of the model's attention over it.

    Attributes:
        picture: in the form of the data set's: uint8 [h, h, 3].
        side: the side of the picture that the model gets, in pixels; `picture` is stretched to it.
        probabilities: float32 [classes].
        maps: the attention of each stage.
        rollouts: float32 [1, R, side, side] of each stage, as `models.rollout.rollout` returns it.
        patch: the side of a regional token's patch in pixels.
    """

    picture: np.ndarray
    side: int
    probabilities: np.ndarray
    maps: list[StageAttention]
    rollouts: list[np.ndarray]
    patch: int

    def at(self, region: tuple[int, int], encoders: Sequence[Encoder]) -> list[Attended]:
        """Return what a region of the first stage's grid attends to in each stage, in an encoder of each."""
        where = places(self.maps, region, self.patch, self.side)
        return [attended(*stage) for stage in zip(self.maps, self.rollouts, where, encoders, strict=True)]


def observe(trained: Trained, picture: np.ndarray) -> Observed:
    """Observe a model while it looks at a picture, as `Trained.picture` returns it.

    Raises:
        UserError: the model outputs NaN.
    """
    images = trained.normalised(picture[None])
    side = images.shape[-1]
    maps = attention_maps(trained.model, images)
    return Observed(
        picture,
        side,
        trained.probabilities(picture[None])[0],
        maps,
        [rollout(trained.model, maps, (side, side), stage) for stage in range(len(maps))],
        trained.model.cls_token.patch_size,
    )


def refuse_export(trained: Trained, option: str = "--weights") -> None:
    """Raise UserError, which names the option that gave the model, if it is an export."""
    if isinstance(trained.model, Exported):
        raise UserError(
            f"{option} {trained.weights}: an export does not reveal its attention: give a .pdparams file",
            key=option,
            value=str(trained.weights),
            place=trained.weights,
        )


def show_attention(
    trained: Trained,
    name: str,
    folder: str | Path,
    region: tuple[int, int] | None = None,
    encoder: str = "last",
    heads: bool = False,
) -> tuple[list[Path], list[str]]:
    """Draw the attention over a picture as rsa.png, lsa.png and rollout.png in a folder.

    Args:
        trained: the model, as `inference.trained.load` returns it.
        name: the picture, as `Trained.picture` takes it.
        region: (row, column) in the grid of the first stage; the default is its middle.
        encoder: which encoder of each stage RSA and LSA show: first, last, or mean (of all).
        heads: draw each head instead of their mean. Rollout always uses the mean.

    Returns:
        (the files written, lines for the log).

    Raises:
        UserError: the model is an export, the region lies outside the grid, or the folder cannot be written.
        PictureError: the picture cannot be read.
    """
    refuse_export(trained)
    seen = observe(trained, trained.picture(name))
    grid = seen.maps[0].grid
    region = checked(region, grid)
    stages = seen.at(region, [encoder] * len(seen.maps))

    classes, note = trained.class_names()
    best = int(seen.probabilities.argmax())
    prediction = f"predicted: {classes[best]} ({100 * seen.probabilities[best]:.1f} %)"
    outlined = f"region {region[0]},{region[1]} of {grid[0]} x {grid[1]}"
    shown = "mean of a stage's encoders" if encoder == "mean" else f"{encoder} encoder of each stage"
    shown = f"{shown}, {'each head' if heads else 'mean of its heads'}\n{prediction}"
    given = seen.picture, seen.side, stages
    means = [rollout[0].mean(axis=0) for rollout in seen.rollouts]
    pixels = "Attention rollout: the pixels behind regional tokens"
    figures = {
        "rsa.png": rsa_figure(*given, heads, f"RSA: what {outlined} attends to\n{shown}"),
        "lsa.png": lsa_figure(*given, heads, f"LSA: attention inside {outlined}\n{shown}"),
        "rollout.png": rollout_figure(*given, means, f"{pixels}; {outlined}\n{prediction}"),
    }
    notes = [line for line in (note, trained.about_temperature) if line]
    with writing_into(folder) as output:
        for file, figure in figures.items():
            (output / file).write_bytes(as_png(figure, bbox_inches="tight"))
    return [output / file for file in figures], [*notes, f"{name}: {outlined}; {prediction}"]


def checked(region: tuple[int, int] | None, grid: tuple[int, int], key: str = "--region") -> tuple[int, int]:
    """Return a region of a grid, by default its middle; UserError, which names it by `key`, if it lies outside."""
    if region is None:
        return grid[0] // 2, grid[1] // 2
    if any(not 0 <= i < count for i, count in zip(region, grid, strict=True)):
        raise UserError(
            f"{key} {region[0]},{region[1]}: the first stage has a grid of {grid[0]} x {grid[1]} regions, "
            f"so expected 0,0 to {grid[0] - 1},{grid[1] - 1}",
            key=key,
            value=region,
        )
    return region
