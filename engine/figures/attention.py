"""Figures of attention over a square picture: between regions (RSA), inside a region (LSA), and down to pixels."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from matplotlib.figure import Figure

from engine.figures.overlays import Panel, draw
from models.attention_maps import StageAttention

ENCODERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "first": lambda weights: weights[0],
    "last": lambda weights: weights[-1],
    "mean": lambda weights: weights.mean(axis=0),
}
HEADS_IN_A_ROW = 8


@dataclass(frozen=True, eq=False)
class Place:
    """Where a stage's regions and local tokens lie in a picture, in pixels.

    Attributes:
        region: (row, column) of the chosen region in the stage's grid.
        edges: [regions per side + 1]: where regions begin and end, both from the top and from the left.
        token: the side of a local token.
    """

    region: tuple[int, int]
    edges: np.ndarray
    token: int

    def box(self) -> list[np.ndarray]:
        """Return the edges (y, x) of the chosen region, each [2]."""
        return [self.edges[i : i + 2] for i in self.region]


def places(maps: Sequence[StageAttention], region: tuple[int, int], patch: int, side: int) -> list[Place]:
    """Follow a region of the first stage to the regions of later stages that contain it; return a Place per stage.

    Args:
        maps: the attention of each stage, over a picture of side x side pixels.
        region: (row, column) in the grid of the first stage.
        patch: the side of a regional token's patch in pixels.
    """
    found, count, token = [], maps[0].grid[0], patch // maps[0].ws
    edges = np.clip(patch * np.arange(count + 1) - (count * patch - side) // 2, 0, side)
    for i, stage in enumerate(maps):
        if i > 0 and stage.grid != maps[i - 1].grid:
            region, edges = (region[0] // 2, region[1] // 2), np.append(edges[:-1:2], side)
        if i > 0 and stage.size != maps[i - 1].size:
            token *= 2
        found.append(Place(region, edges, token))
    return found


def rsa_figure(
    picture: np.ndarray,
    side: int,
    maps: Sequence[StageAttention],
    where: Sequence[Place],
    encoder: str,
    heads: bool,
    title: str,
) -> Figure:
    """Draw what a region attends to among the regions of each stage.

    Args:
        picture: uint8 [h, w, 3], drawn over side x side, the pixels that the model saw.
        maps, where: the attention and the Place of each stage. Of B pictures the first one is drawn.
        encoder: a key of ENCODERS.
        heads: draw a panel per head instead of their mean.
    """
    stages = []
    for i, (stage, place) in enumerate(zip(maps, where, strict=True), start=1):
        weights = ENCODERS[encoder](stage.regional)[0, :, np.ravel_multi_index(place.region, stage.grid)]
        Hr, Wr = stage.grid
        what = f"{Hr} x {Wr} regions" if Hr * Wr > 1 else "one region,\nit can only attend to itself"
        panel = Panel(f"stage {i}: {what}", edges=(place.edges, place.edges), box=place.box())
        stages.append(_fill(panel, weights.reshape(-1, Hr, Wr), heads and Hr * Wr > 1))
    whole = Panel("picture", box=where[0].box())
    rows = [[whole], *_in_rows(stages)] if heads else [[whole, *chain(*stages)]]
    return draw(picture, side, rows, title)


def lsa_figure(
    picture: np.ndarray,
    side: int,
    maps: Sequence[StageAttention],
    where: Sequence[Place],
    encoder: str,
    heads: bool,
    title: str,
) -> Figure:
    """Draw what the regional token and the mean local token attend to in a region's window, for each stage.

    The arguments are those of `rsa_figure`. Padding is gray.
    """
    windows: list[Panel] = []
    regional: list[list[Panel]] = []
    local: list[list[Panel]] = []
    for i, (stage, place) in enumerate(zip(maps, where, strict=True), start=1):
        ws, weights = stage.ws, ENCODERS[encoder](stage.local)[0, np.ravel_multi_index(place.region, stage.grid)]
        in_rows, in_columns = (ws * r + np.arange(ws) < n for r, n in zip(place.region, stage.size, strict=True))
        real = np.outer(in_rows, in_columns).flatten()
        mean_local = weights[:, 1:][:, real].mean(axis=1) if real.any() else np.zeros_like(weights[:, 0])
        edges = [place.token * (ws * r + np.arange(ws + 1)) for r in place.region]
        windows.append(Panel(f"stage {i}: window\nof {ws} x {ws} local tokens", view=edges))
        for groups, query, each in ((regional, "regional", weights[:, 0]), (local, "mean local", mean_local)):
            tokens, to_regional = each[:, 1:].reshape(-1, ws, ws), each[:, 0]
            what = f"stage {i}: {query} token,\n{100 * to_regional.mean():.0f} % on the regional token"
            groups.append(_fill(Panel(what, edges=edges, view=edges), tokens, heads, to_regional))
    if heads:
        rows = [windows, *_in_rows(chain(*zip(regional, local, strict=True)))]
    else:
        rows = [windows, [*chain(*regional)], [*chain(*local)]]
    return draw(picture, side, rows, title)


def rollout_figure(
    picture: np.ndarray, side: int, rollouts: Sequence[np.ndarray], where: Sequence[Place], title: str
) -> Figure:
    """Draw which pixels regional tokens draw on at the end of each stage: their mean, and below it the chosen region.

    Args:
        picture, side, where: as in `rsa_figure`.
        rollouts: [R, side, side] per stage, as `rollout` returns it for one picture.
    """
    mean, chosen, edges = [Panel("picture")], [Panel("region", box=where[0].box())], [np.arange(side + 1)] * 2
    for i, (shares, place) in enumerate(zip(rollouts, where, strict=True), start=1):
        region = np.ravel_multi_index(place.region, [len(place.edges) - 1] * 2)
        mean.append(_rollout_panel(f"stage {i}: mean region", shares.mean(axis=0), edges))
        chosen.append(replace(_rollout_panel(f"stage {i}: the region", shares[region], edges), box=place.box()))
    return draw(picture, side, [mean, chosen], title)


def _rollout_panel(name: str, shares: np.ndarray, edges: Sequence[np.ndarray]) -> Panel:
    lost = 1 - shares.sum()
    if lost > 0.005:
        name += f",\n{100 * lost:.0f} % on padding"
    times = shares * shares.size  # in multiples of an even share
    return Panel(name, values=times, edges=edges, top=times.max(), unit="times")


def _fill(panel: Panel, weights: np.ndarray, heads: bool, to_regional: np.ndarray | None = None) -> list[Panel]:
    """Return a panel per head of weights [heads, rows, columns], all on one scale, or one panel for their mean.

    to_regional: [heads], the share of attention on the regional token, for the titles.
    """
    if not heads:
        mean = weights.mean(axis=0)
        return [replace(panel, values=mean, top=mean.max())]
    names = [f"head {i}" for i in range(1, 1 + len(weights))]
    if to_regional is not None:
        names = [f"{name}: {100 * share:.0f} % regional" for name, share in zip(names, to_regional, strict=True)]
    return [
        replace(panel, title=name, values=each, top=weights.max(), label="" if i % HEADS_IN_A_ROW else panel.title)
        for i, (name, each) in enumerate(zip(names, weights, strict=True))
    ]


def _in_rows(groups: Iterable[list[Panel]]) -> list[list[Panel]]:
    return [group[i : i + HEADS_IN_A_ROW] for group in groups for i in range(0, len(group), HEADS_IN_A_ROW)]
