"""Figures of attention over a square picture: between regions, inside a region, and down to pixels."""

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from engine.figures.overlays import Panel, draw

ENCODERS = {
    "first": lambda weights: weights[0],
    "last": lambda weights: weights[-1],
    "mean": lambda weights: weights.mean(axis=0),
}
HEADS_IN_A_ROW = 8


@dataclass(frozen=True, eq=False)
class Place:
    """Where a stage's regions and local tokens lie in a picture, in pixels.

    region: (row, column) of the chosen region in the stage's grid.
    edges: numpy [regions on a side + 1]: where regions begin and end, from the top as from the left.
    token: the side of a local token.
    """

    region: tuple
    edges: np.ndarray
    token: int

    def box(self):
        """Return the edges (y, x) of the region alone, two each."""
        return [self.edges[i : i + 2] for i in self.region]


def places(maps, region, patch, side):
    """Follow a region of the first stage to the regions of later ones that contain it: -> a Place a stage.

    Args:
        maps: a StageAttention a stage, of a picture of side x side pixels.
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


def rsa_figure(picture, side, maps, where, encoder, heads, title):
    """Draw what a region attends to among the regions of each stage.

    Args:
        picture: uint8 [h, w, 3], drawn over side x side, the pixels that the model saw.
        maps, where: a StageAttention and a Place a stage; of B pictures the first is drawn.
        encoder: a key of ENCODERS; heads: a panel for each head instead of their mean.
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


def lsa_figure(picture, side, maps, where, encoder, heads, title):
    """Draw what the regional token and the mean local token attend to in a region's window of each stage.

    Arguments as `rsa_figure` has them. What is grey in a window is padding.
    """
    windows, regional, local = [], [], []
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


def rollout_figure(picture, side, rollouts, where, title):
    """Draw which pixels the mean regional token draws on at each stage's end, and below it a chosen region's.

    Args:
        picture, side, where: as `rsa_figure` has them.
        rollouts: numpy [R, side, side] a stage, what `rollout` returns for one picture.
    """
    mean, chosen, edges = [Panel("picture")], [Panel("region", box=where[0].box())], [np.arange(side + 1)] * 2
    for i, (shares, place) in enumerate(zip(rollouts, where, strict=True), start=1):
        region = np.ravel_multi_index(place.region, [len(place.edges) - 1] * 2)
        of_mean, of_region = shares.mean(axis=0), shares[region]
        mean.append(_rollout_panel(f"stage {i}: mean region", of_mean, edges))
        chosen.append(replace(_rollout_panel(f"stage {i}: the region", of_region, edges), box=place.box()))
    return draw(picture, side, [mean, chosen], title)


def _rollout_panel(name, shares, edges):
    lost = 1 - shares.sum()
    if lost > 0.005:
        name += f",\n{100 * lost:.0f} % on padding"
    times = shares * shares.size  # of an even share
    return Panel(name, values=times, edges=edges, top=times.max(), unit="times")


def _fill(panel, weights, heads, to_regional=None):
    """Return a panel for each head of weights [heads, rows, columns], on one scale, or one panel for their mean.

    `to_regional` [heads]: what goes to the regional token besides.
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


def _in_rows(groups):
    return [group[i : i + HEADS_IN_A_ROW] for group in groups for i in range(0, len(group), HEADS_IN_A_ROW)]
