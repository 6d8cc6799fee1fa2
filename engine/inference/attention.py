"""What a trained model attends to in one picture, as figures in a folder."""

from engine.errors import UserError
from engine.figures.attention import lsa_figure, places, rollout_figure, rsa_figure
from engine.figures.curves import as_png
from engine.inference.program import Exported
from engine.system.atomic import writing_into
from models.attention_maps import attention_maps
from models.rollout import rollout


def show_attention(trained, name, folder, region=None, encoder="last", heads=False):
    """Draw rsa.png, lsa.png and rollout.png of a picture into a folder.

    Args:
        trained: the model, as `inference.trained.load` returns it.
        name: the picture, as `Trained.picture` takes it.
        region: (row, column) in the grid of the first stage; default its middle.
        encoder: which of a stage's encoders RSA and LSA are of: first, last, or the mean of all.
        heads: draw each head, not their mean. Rollout is always of the mean.

    Returns:
        (the files written, lines that say what they show).

    Raises:
        UserError: the model is an export, the picture cannot be read, there is no such region, or the folder cannot be
            written.
    """
    if isinstance(trained.model, Exported):
        raise UserError(f"--weights {trained.weights}: an export does not tell its attention: give a .pdparams file")
    picture = trained.picture(name)
    images = trained.normalised(picture[None])
    with trained.precision.autocast():
        maps = attention_maps(trained.model, images)
    region, side = _checked(region, maps[0].grid), images.shape[-1]
    where = places(maps, region, trained.model.cls_token.patch_size, side)
    rollouts = [rollout(trained.model, maps, (side, side), stage)[0] for stage in range(len(maps))]

    probabilities, (classes, note) = trained.probabilities(picture[None])[0], trained.class_names()
    best = probabilities.argmax()
    prediction = f"predicted: {classes[best]} ({100 * probabilities[best]:.1f} %)"
    outlined = f"region {region[0]},{region[1]} of {maps[0].grid[0]} x {maps[0].grid[1]}"
    of = "mean of a stage's encoders" if encoder == "mean" else f"{encoder} encoder of each stage"
    of = f"{of}, {'each head' if heads else 'mean of its heads'}\n{prediction}"
    arguments = picture, side, maps, where, encoder, heads
    pixels = "Attention rollout: the pixels behind regional tokens"
    figures = {
        "rsa.png": rsa_figure(*arguments, f"RSA: what {outlined} attends to\n{of}"),
        "lsa.png": lsa_figure(*arguments, f"LSA: attention inside {outlined}\n{of}"),
        "rollout.png": rollout_figure(picture, side, rollouts, where, f"{pixels}; {outlined}\n{prediction}"),
    }
    with writing_into(folder) as folder:
        for file, figure in figures.items():
            (folder / file).write_bytes(as_png(figure, bbox_inches="tight"))
    return [folder / file for file in figures], [*([note] if note else []), f"{name}: {outlined}; {prediction}"]


def _checked(region, grid):
    if region is None:
        return grid[0] // 2, grid[1] // 2
    if any(not 0 <= i < count for i, count in zip(region, grid, strict=True)):
        raise UserError(
            f"--region {region[0]},{region[1]}: the first stage has a grid of {grid[0]} x {grid[1]} regions, "
            f"so expected 0,0 to {grid[0] - 1},{grid[1] - 1}"
        )
    return region
