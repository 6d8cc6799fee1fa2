"""The attention of a trained model over one picture, as figures in a folder."""

from pathlib import Path

from engine.errors import UserError
from engine.figures.attention import lsa_figure, places, rollout_figure, rsa_figure
from engine.figures.curves import as_png
from engine.inference.program import Exported
from engine.inference.trained import Trained
from engine.system.atomic import writing_into
from models.attention_maps import attention_maps
from models.rollout import rollout


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
    if isinstance(trained.model, Exported):
        raise UserError(
            f"--weights {trained.weights}: an export does not reveal its attention: give a .pdparams file",
            key="--weights",
            value=str(trained.weights),
            place=trained.weights,
        )
    picture = trained.picture(name)
    images = trained.normalised(picture[None])
    maps = attention_maps(trained.model, images)
    region, side = _checked(region, maps[0].grid), images.shape[-1]
    where = places(maps, region, trained.model.cls_token.patch_size, side)
    rollouts = [rollout(trained.model, maps, (side, side), stage)[0] for stage in range(len(maps))]

    probabilities = trained.probabilities(picture[None])[0]
    classes, note = trained.class_names()
    best = int(probabilities.argmax())
    prediction = f"predicted: {classes[best]} ({100 * probabilities[best]:.1f} %)"
    outlined = f"region {region[0]},{region[1]} of {maps[0].grid[0]} x {maps[0].grid[1]}"
    shown = "mean of a stage's encoders" if encoder == "mean" else f"{encoder} encoder of each stage"
    shown = f"{shown}, {'each head' if heads else 'mean of its heads'}\n{prediction}"
    arguments = picture, side, maps, where, encoder, heads
    pixels = "Attention rollout: the pixels behind regional tokens"
    figures = {
        "rsa.png": rsa_figure(*arguments, f"RSA: what {outlined} attends to\n{shown}"),
        "lsa.png": lsa_figure(*arguments, f"LSA: attention inside {outlined}\n{shown}"),
        "rollout.png": rollout_figure(picture, side, rollouts, where, f"{pixels}; {outlined}\n{prediction}"),
    }
    with writing_into(folder) as output:
        for file, figure in figures.items():
            (output / file).write_bytes(as_png(figure, bbox_inches="tight"))
    return [output / file for file in figures], [*([note] if note else []), f"{name}: {outlined}; {prediction}"]


def _checked(region: tuple[int, int] | None, grid: tuple[int, int]) -> tuple[int, int]:
    if region is None:
        return grid[0] // 2, grid[1] // 2
    if any(not 0 <= i < count for i, count in zip(region, grid, strict=True)):
        raise UserError(
            f"--region {region[0]},{region[1]}: the first stage has a grid of {grid[0]} x {grid[1]} regions, "
            f"so expected 0,0 to {grid[0] - 1},{grid[1] - 1}",
            key="--region",
            value=region,
        )
    return region
