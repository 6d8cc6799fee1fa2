"""Figures of attention over a square picture: between regions (RSA), inside a region (LSA), and down to pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from matplotlib.figure import Figure

from engine.figures.overlays import Panel, draw
from models.attended import Attended, InWindow, of_head

HEADS_IN_A_ROW = 8


def rsa_figure(picture: np.ndarray, side: int, stages: Sequence[Attended], heads: bool, title: str) -> Figure:
    """Draw what a region attends to among the regions of each stage.

    Args:
        picture: uint8 [h, w, 3], drawn over side x side, the pixels that the model saw.
        stages: what the region attends to in each stage.
        heads: draw a panel per head instead of their mean.
    """
    groups = []
    for i, stage in enumerate(stages, start=1):
        _, Hr, Wr = stage.rsa.shape
        what = f"{Hr} x {Wr} regions" if Hr * Wr > 1 else "one region,\nit can only attend to itself"
        groups.append(_fill(replace(rsa_panel(stage), title=f"stage {i}: {what}"), stage.rsa, heads and Hr * Wr > 1))
    whole = Panel("picture", box=stages[0].place.box())
    rows = [[whole], *_in_rows(groups)] if heads else [[whole, *chain(*groups)]]
    return draw(picture, side, rows, title)


def lsa_figure(picture: np.ndarray, side: int, stages: Sequence[Attended], heads: bool, title: str) -> Figure:
    """Draw what the regional token and the mean local token attend to in a region's window, for each stage.

    The arguments are those of `rsa_figure`. Padding is gray.
    """
    windows: list[Panel] = []
    regional: list[list[Panel]] = []
    local: list[list[Panel]] = []
    for i, stage in enumerate(stages, start=1):
        ws = stage.local.local.shape[-1]
        edges = stage.place.window(ws)
        windows.append(Panel(f"stage {i}: window\nof {ws} x {ws} local tokens", view=edges))
        for groups, query, of in ((regional, "regional", stage.regional), (local, "mean local", stage.local)):
            what = f"stage {i}: {query} token,\n{100 * of.regional.mean():.0f} % on the regional token"
            groups.append(_fill(replace(lsa_panel(stage, of), title=what), of.local, heads, of.regional))
    if heads:
        rows = [windows, *_in_rows(chain(*zip(regional, local, strict=True)))]
    else:
        rows = [windows, [*chain(*regional)], [*chain(*local)]]
    return draw(picture, side, rows, title)


def rollout_figure(
    picture: np.ndarray, side: int, stages: Sequence[Attended], mean: Sequence[np.ndarray], title: str
) -> Figure:
    """Draw which pixels regional tokens draw on at the end of each stage: their mean, and below it the chosen region.

    Args:
        picture, side, stages: as in `rsa_figure`.
        mean: the share of each pixel in the mean regional token, [side, side] per stage.
    """
    above, below = [Panel("picture")], [Panel("region", box=stages[0].place.box())]
    for i, (stage, shares) in enumerate(zip(stages, mean, strict=True), start=1):
        whole, region = replace(rollout_panel(shares), title=f"stage {i}: mean region"), rollout_panel(stage.rollout)
        above.append(_with_loss(whole, shares))
        below.append(_with_loss(replace(region, title=f"stage {i}: the region", box=stage.place.box()), stage.rollout))
    return draw(picture, side, [above, below], title)


def rsa_panel(stage: Attended, head: int | None = None) -> Panel:
    """Return a panel without a title of what a region attends to among regions; without a head, of the heads' mean."""
    values = of_head(stage.rsa, head)
    return Panel("", values, (stage.place.edges, stage.place.edges), top=values.max(), box=stage.place.box())


def lsa_panel(stage: Attended, query: InWindow, head: int | None = None) -> Panel:
    """Return a panel, as `rsa_panel`, of what a query of a stage attends to inside the window."""
    values = of_head(query.local, head)
    edges = stage.place.window(values.shape[-1])
    return Panel("", values, edges, top=values.max(), view=edges)


def rollout_panel(shares: np.ndarray) -> Panel:
    """Return a panel without a title of the pixels' shares in a regional token: [side, side]."""
    times = shares * shares.size  # in multiples of an even share
    return Panel("", times, [np.arange(len(shares) + 1)] * 2, top=times.max(), unit="times")


def _with_loss(panel: Panel, shares: np.ndarray) -> Panel:
    lost = 1 - shares.sum()
    return replace(panel, title=f"{panel.title},\n{100 * lost:.0f} % on padding") if lost > 0.005 else panel


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
