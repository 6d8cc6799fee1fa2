"""Made pictures with circles, squares and triangles on noise, to try detectors and segmenters on: the same from a seed.

    picture(rng, side) -> Picture
    write(folder, train, val, side, seed)

A folder serves both libraries, `SPLIT` being train or val:

    images/SPLIT/0000.png
    annotations/SPLIT.json   COCO: boxes and polygons, for PaddleDetection
    labels/SPLIT/0000.png    0: background, 1 to 3: classes, for PaddleSeg
    SPLIT.txt                pairs of the two pictures, for PaddleSeg
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.system import atomic

CLASSES = ("circle", "square", "triangle")
SPLITS = ("train", "val")
MOST = 4  # shapes in a picture
VISIBLE = 0.4  # the least part of a shape that a later one may leave


@dataclass(frozen=True)
class Picture:
    """image uint8 [side, side, 3], RGB; shapes: what can be seen of each, as (class, bool [side, side])."""

    image: np.ndarray
    shapes: list[tuple[int, np.ndarray]]

    def labels(self) -> np.ndarray:
        """Return the class of each pixel plus one, 0 for the background: uint8 [side, side]."""
        labels = np.zeros(self.image.shape[:2], np.uint8)
        for kind, mask in self.shapes:
            labels[mask] = 1 + kind
        return labels


def picture(rng: np.random.Generator, side: int) -> Picture:
    """Draw one to `MOST` shapes of several sizes, which may overlap, in bright colors on gray noise."""
    image = np.clip(rng.normal(rng.uniform(60, 160), 25, [side, side, 3]), 0, 255).astype(np.uint8)
    shapes: list[tuple[int, np.ndarray]] = []
    for _ in range(rng.integers(1, MOST + 1)):
        kind, whole = int(rng.integers(len(CLASSES))), np.zeros([side, side], np.uint8)
        radius = rng.uniform(0.09, 0.25) * side
        _draw(whole, kind, rng.uniform(radius, side - radius, 2), radius, rng.uniform(0, 2 * np.pi))
        new = whole.astype(bool)
        rest = [(other, mask & ~new) for other, mask in shapes]
        if any(after.sum() < VISIBLE * before.sum() for (_, before), (_, after) in zip(shapes, rest, strict=True)):
            continue
        shapes = [*rest, (kind, new)]
        color = rng.permutation([rng.uniform(200, 255), rng.uniform(0, 255), rng.uniform(0, 55)])
        image[new] = np.clip(color + rng.normal(0, 12, [int(new.sum()), 3]), 0, 255)
    return Picture(image, shapes)


def _draw(canvas: np.ndarray, kind: int, center: np.ndarray, radius: float, angle: float) -> None:
    if CLASSES[kind] == "circle":
        cv2.circle(canvas, np.rint(center).astype(int).tolist(), round(radius * 0.9), 1, cv2.FILLED)
        return
    corners = {"square": 4, "triangle": 3}[CLASSES[kind]]
    around = angle + 2 * np.pi * np.arange(corners) / corners
    points = center + radius * np.stack([np.cos(around), np.sin(around)], axis=1)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)


def write(folder: str | Path, train: int, val: int, side: int, seed: int) -> None:
    """Write a folder of pictures with annotations for both libraries.

    Raises:
        OSError: the disk refused.
    """
    folder = Path(folder)
    for number, (split, count) in enumerate(zip(SPLITS, (train, val), strict=True)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        (folder / "annotations").mkdir(exist_ok=True)
        pictures = [picture(np.random.default_rng([seed, number, i]), side) for i in range(count)]
        names = [f"{split}/{i:04}.png" for i in range(count)]
        contents: dict[Path, str | bytes] = {}
        for name, made in zip(names, pictures, strict=True):
            contents[folder / "images" / name] = _png(made.image[:, :, ::-1])
            contents[folder / "labels" / name] = _png(made.labels())
        contents[folder / f"{split}.txt"] = "".join(f"images/{name} labels/{name}\n" for name in names)
        contents[folder / "annotations" / f"{split}.json"] = json.dumps(coco(names, pictures))
        atomic.replace_contents(contents)


def coco(names: list[str], pictures: list[Picture]) -> dict[str, Any]:
    """Return COCO's annotations of pictures, whose `file_name` starts below images/."""
    images = [
        {"id": i, "file_name": name, "height": made.image.shape[0], "width": made.image.shape[1]}
        for i, (name, made) in enumerate(zip(names, pictures, strict=True), start=1)
    ]
    shapes = [(i, kind, mask) for i, made in enumerate(pictures, start=1) for kind, mask in made.shapes]
    annotations = [
        {
            "id": number,
            "image_id": i,
            "category_id": 1 + kind,
            "segmentation": polygons(mask),
            "area": int(mask.sum()),
            "bbox": _box(mask),
            "iscrowd": 0,
        }
        for number, (i, kind, mask) in enumerate(shapes, start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def polygons(mask: np.ndarray) -> list[list[float]]:
    """Return the outlines of a mask's parts as [x0, y0, x1, y1, ...], holes filled: bool [h, w] -> polygons.

    COCO counts from the corner of a pixel, OpenCV from its center, which would cost each shape half a pixel all around:
    the outline is that of a mask of twice the size, in which the two are a quarter of a pixel apart.
    """
    twice = np.kron(mask.astype(np.uint8), np.ones([2, 2], np.uint8))
    outlines, _ = cv2.findContours(twice, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((outline.reshape(-1) + 0.5) / 2).tolist() for outline in outlines]


def _box(mask: np.ndarray) -> list[int]:
    """Return [x, y, width, height] of a mask."""
    y, x = np.nonzero(mask)
    return [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()
