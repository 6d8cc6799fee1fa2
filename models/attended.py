"""What one region of a picture attends to: its rows of the attention maps, stage by stage, and where it lies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .attention_maps import StageAttention

Encoder = str | int  # a key of ENCODERS, or an encoder's number in its stage, from 0
ENCODERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "first": lambda weights: weights[0],
    "last": lambda weights: weights[-1],
    "mean": lambda weights: weights.mean(axis=0),
}


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

    def window(self, ws: int) -> list[np.ndarray]:
        """Return the edges (y, x) of the local tokens of the chosen region's window, each [ws + 1]."""
        return [self.token * (ws * i + np.arange(ws + 1)) for i in self.region]


@dataclass(frozen=True, eq=False)
class InWindow:
    """What a query attends to in LSA, in each head; the shares of a head sum to 1.

    Attributes:
        local: the shares of the window's local tokens, float32 [heads, ws, ws].
        regional: the share of its regional token, float32 [heads].
    """

    local: np.ndarray
    regional: np.ndarray


@dataclass(frozen=True, eq=False)
class Attended:
    """What a region attends to in a stage.

    Attributes:
        place: where the region lies.
        rsa: what its regional token attends to among the regions, in each head: float32 [heads, Hr, Wr].
        regional: what its regional token attends to in its window.
        local: the same for the mean of its local tokens that lie in the picture; 0 if none does.
        rollout: the share of each pixel in its regional token at the end of the stage: float32 [height, width].
    """

    place: Place
    rsa: np.ndarray
    regional: InWindow
    local: InWindow
    rollout: np.ndarray


def of_head(weights: np.ndarray, head: int | None) -> np.ndarray:
    """Return the weights of one head, or without a head the mean of all: [heads, ...] -> [...]"""
    return weights.mean(axis=0) if head is None else weights[head]


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


def attended(stage: StageAttention, rollout: np.ndarray, place: Place, encoder: Encoder) -> Attended:
    """Return what a region attends to in a stage; of B pictures the first one counts.

    Args:
        rollout: the result of `models.rollout.rollout` for the stage.
    """
    choose = ENCODERS[encoder] if isinstance(encoder, str) else lambda weights: weights[encoder]
    region = np.ravel_multi_index(place.region, stage.grid)
    rsa, window = choose(stage.regional)[0, :, region], choose(stage.local)[0, region]
    in_rows, in_columns = (
        stage.ws * i + np.arange(stage.ws) < n for i, n in zip(place.region, stage.size, strict=True)
    )
    real = np.outer(in_rows, in_columns).flatten()
    local = window[:, 1:][:, real].mean(axis=1) if real.any() else np.zeros_like(window[:, 0])
    return Attended(
        place,
        rsa.reshape(-1, *stage.grid),
        regional=_split(window[:, 0], stage.ws),
        local=_split(local, stage.ws),
        rollout=rollout[0, region],
    )


def _split(shares: np.ndarray, ws: int) -> InWindow:
    """Part the shares of a window's tokens, the regional one first: [heads, 1 + ws*ws]"""
    return InWindow(shares[:, 1:].reshape(-1, ws, ws), shares[:, 0])
