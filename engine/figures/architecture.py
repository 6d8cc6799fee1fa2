"""A figure of the architecture of a built model: tokens, stages, one encoder, with the numbers measured on it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from engine.errors import UserError
from engine.figures.architecture_words import WORDS
from engine.figures.fonts import lacking
from engine.figures.sheet import Point, Sheet
from models.architecture import Architecture, StageNumbers
from models.flops import Shape

WIDTH, DPI = 9.0, 150  # inches; a README shows 9 inches 900 pixels wide
LOCAL, REGIONAL, BOTH, GRAY = "#2a6f97", "#d9730d", "#5a5a5a", "#7a7a7a"
SKY, PADDING = "#dbe9f0", "#d3d3d3"
PALE = {LOCAL: "#dcebf4", REGIONAL: "#fbe6d2", BOTH: "#eeeeee"}
SIDE, PICTURES = 1.72, (0.55, 3.15)  # of the picture, and where it lies twice
STAGES = 3.3  # where the second part begins
LINE = 0.15
MOST = 8  # rays of attention in a row of tokens
Words = Callable[..., str]
Style = dict[str, Any]


def architecture_figure(architecture: Architecture, name: str, language: str) -> Figure:
    """Draw the architecture of a model in a language, a key of WORDS.

    Raises:
        UserError: no installed font has the language's letters.
    """
    table = WORDS[language]
    if missing := lacking("".join(table.values())):
        raise UserError(
            f"--language {language}: no font that matplotlib finds has {missing[:5]}: install one with these letters, "
            "such as Noto Sans CJK, or choose another language",
            key="--language",
            value=language,
        )

    def words(key: str, **numbers: Any) -> str:
        return table[key].format(**numbers)

    below = [_stage_words(architecture, stage, words) for stage in architecture.stages]
    encoder = STAGES + 2.45 + LINE * max(map(len, below))
    sheet = Sheet(WIDTH, encoder + 2.7 + LINE * architecture.stages[0].peg, DPI)
    title = words(
        "title",
        name=name,
        parameters=architecture.parameters / 1e6,
        multiply_adds=architecture.multiply_adds / 1e9,
        height=architecture.picture[2],
        width=architecture.picture[3],
    )
    sheet.text(WIDTH / 2, 0.12, title, 10.5, weight="bold")
    _tokens(sheet, architecture, words, 0.5)
    _pyramid(sheet, architecture, words, STAGES, below)
    _encoder(sheet, architecture, words, encoder)
    return sheet.figure


def _tokens(sheet: Sheet, architecture: Architecture, words: Words, top: float) -> None:
    """Draw the picture under both grids of patches, to scale, and one region of it."""
    sheet.text(0.3, top, words("cut"), 10, weight="bold", ha="left")
    y, (_, _, height, width) = top + 0.3, architecture.picture
    inch = SIDE / max(height, width)
    kinds = [
        ("local tokens", LOCAL, architecture.local, architecture.patch, architecture.stem),
        ("regional tokens", REGIONAL, architecture.regional, architecture.region, ((architecture.region,) * 2,)),
    ]
    for x, (key, color, shape, side, convolutions) in zip(PICTURES, kinds, strict=True):
        _scene(sheet, x, y, (0, 0, height, width), inch, (height, width))
        rows, columns = (_edges(count, side, pixels) for count, pixels in zip(shape[2:], (height, width), strict=True))
        line = 0.3 if len(rows) > 16 else 0.8
        sheet.grid(x + columns * inch, y + rows * inch, color=color, linewidth=line, zorder=3)
        caption = [
            words(key, rows=shape[2], columns=shape[3]),
            words("each", side=side),
            _convolutions(convolutions, words),
        ]
        for i, text in enumerate([*caption, _shape(shape)]):
            style = {"color": color, "weight": "bold"} if i == 0 else {}
            sheet.text(x + SIDE / 2, y + SIDE + 0.08 + LINE * i, text, 8, **style)

    rows, columns = (
        _edges(count, architecture.region, pixels)
        for count, pixels in zip(architecture.regional[2:], (height, width), strict=True)
    )
    r, c = _chosen(architecture)
    up, left, down, right = rows[r], columns[c], rows[r + 1], columns[c + 1]
    from_x, x, zoom_y, zoom = PICTURES[1], 5.75, y + 0.25, 1.15
    scale = zoom / architecture.region
    patch, window = _beginnings(architecture)
    parts = ("one regional", REGIONAL, 1, x, patch), ("its local", LOCAL, architecture.ws, x + 1.75, window)
    for key, color, count, at, (first, begin) in parts:
        view = first, begin, first + architecture.region, begin + architecture.region
        _scene(sheet, at, zoom_y, view, scale, (height, width))
        marks = np.linspace(0, zoom, count + 1)
        sheet.grid(at + marks, zoom_y + marks, color=color, linewidth=0.8 if count > 1 else 2, zorder=3)
        sheet.text(at + zoom / 2, zoom_y + zoom + 0.08, words(key, count=count**2), color=color, weight="bold")
    center = x + (1.75 + zoom) / 2
    sheet.text(center, zoom_y + zoom / 2, "+", 14, va="center")
    sheet.text(center, y, words("window"), 8.5, weight="bold")
    sheet.text(center, zoom_y + zoom + 0.25, _shape((1, *architecture.lsa[1:])))
    if height % architecture.region or width % architecture.region:
        sheet.text(center, zoom_y + zoom + 0.4, words("padding"), color=GRAY)
    box = {"edgecolor": "black", "linewidth": 1.4, "zorder": 4}
    sheet.rectangle(from_x + left * inch, y + up * inch, (right - left) * inch, (down - up) * inch, **box)
    rays = [
        [(from_x + right * inch, y + edge * inch), (x - 0.06, end)]
        for edge, end in ((edge, zoom_y + (edge - patch[0]) * scale) for edge in (up, down))
    ]
    sheet.lines(rays, color=GRAY, linewidth=0.7, linestyle=":", zorder=4)


def _pyramid(
    sheet: Sheet, architecture: Architecture, words: Words, top: float, below: Sequence[Sequence[tuple[str, Style]]]
) -> None:
    """Draw both maps of each stage, to scale, with channels as depth, and words below; then the head."""
    sheet.text(0.3, top, words("stages"), 10, weight="bold", ha="left")
    stages, column = architecture.stages, min(2.5, 7.5 / len(architecture.stages))
    most = max(stage.channels for stage in stages)
    local = min(1.2, 0.7 * column) / max(architecture.local[2:])
    regional = min(0.08, 0.5 / max(architecture.regional[2:]))
    middle, base = top + 0.8, top + 2.3
    places = followed(architecture)
    centers = [0.3 + column * (i + 0.43) for i in range(len(stages))]
    depths = [0.32 * stage.channels / most for stage in stages]
    for i, (x, stage, depth) in enumerate(zip(centers, stages, depths, strict=True)):
        sheet.text(x, top + 0.28, words("stage", number=i + 1), 8.5, weight="bold")
        bottom = middle + stage.regional[0] * regional / 2
        _map(sheet, x, bottom, stage.regional, regional, depth, REGIONAL, 1, places[i])
        _map(sheet, x, base, stage.local, local, depth, LOCAL, architecture.ws, places[i])
        for line, (text, style) in enumerate(below[i]):
            sheet.text(x, base + 0.08 + LINE * line, text, **style)
        if i:
            begin = centers[i - 1] + stages[i - 1].local[1] * local / 2 + depths[i - 1] + 0.08
            end, y = x - stage.local[1] * local / 2 - 0.08, base - 0.12
            sheet.arrow([(begin, y), (end, y)], GRAY)
            if stage.halving > 1:
                label = words("halving", halving=stage.halving)
                sheet.text((begin + end) / 2, y - 0.06, label, 7.5, va="bottom")

    x = 0.3 + column * len(stages) + 0.55
    begin = centers[-1] + stages[-1].regional[1] * regional / 2 + depths[-1] + 0.08
    sheet.arrow([(begin, middle), (x - 0.62, middle)], REGIONAL)
    sheet.text(x, middle, words("mean"), 7.5, va="center", color=REGIONAL)
    sheet.text(x, middle + 0.2, _shape(architecture.features))
    if architecture.classes:
        sheet.arrow([(x, middle + 0.4), (x, middle + 0.65)], REGIONAL)
        sheet.text(x, middle + 0.7, words("linear"), color=REGIONAL)
        sheet.text(x, middle + 0.85, _shape((1, architecture.classes)))
        sheet.text(x, middle + 1.0, words("classes", classes=architecture.classes), weight="bold")
    else:
        sheet.text(x, middle + 0.35, words("no head"), weight="bold")


def _stage_words(architecture: Architecture, stage: StageNumbers, words: Words) -> list[tuple[str, Style]]:
    (rows, columns), (H, W) = stage.regional, stage.local
    filled = rows * architecture.ws, columns * architecture.ws
    lines = [
        (words("regional", rows=rows, columns=columns), {"color": REGIONAL, "weight": "bold"}),
        (words("local", rows=H, columns=W), {"color": LOCAL, "weight": "bold"}),
        (words("one head" if stage.heads == 1 else "channels", channels=stage.channels, heads=stage.heads), {}),
        (words("encoders", encoders=stage.encoders), {}),
        (words("parameters", parameters=100 * stage.parameters), {"color": GRAY}),
        (words("multiply-adds", multiply_adds=100 * stage.multiply_adds), {"color": GRAY}),
    ]
    if stage.peg:
        lines.insert(4, (words("peg"), {}))
    if filled != (H, W):
        lines.insert(2, (words("padded", rows=filled[0], columns=filled[1]), {"color": LOCAL}))
    return lines


def _encoder(sheet: Sheet, architecture: Architecture, words: Words, top: float) -> None:
    """Draw the first encoder: RSA between regional tokens, then LSA and FFN in each window, around each a residual."""
    sheet.text(0.3, top, words("encoder"), 10, weight="bold", ha="left")
    above, below = top + 0.8, top + 1.95
    middle, grid, window = (above + below) / 2, architecture.stages[0].regional, (architecture.ws,) * 2
    windows, N, C = architecture.lsa

    for x in (0.75, 8.45):
        _cells(sheet, x, above, grid, REGIONAL)
        _cells(sheet, x, below, window, LOCAL, behind=windows > 1)
        sheet.text(x, above + 0.28, _shape(architecture.rsa))
        sheet.text(x, below + 0.28, _shape((windows, N - 1, C)))
    sheet.text(0.75, above - 0.28, words("regional in"), va="bottom", color=REGIONAL, weight="bold")
    sheet.text(0.75, below - 0.32, words("local in"), va="bottom", color=LOCAL, weight="bold")

    _block(sheet, 1.5, 1.2, above, words("rsa"), "r + RSA(LN(r))", REGIONAL, source=1.08)
    _cells(sheet, 1.82, above, grid, REGIONAL, attends=True)
    sheet.arrow([(2.95, above), (3.6, above), (3.6, middle - 0.27)], REGIONAL)
    sheet.arrow([(1.15, below), (3.6, below), (3.6, middle + 0.36)], LOCAL)
    sheet.text(3.6, middle - 0.02, words("joined"), va="center")
    sheet.text(3.6, middle + 0.17, _shape(architecture.lsa))

    _block(sheet, 4.6, 1.5, middle, words("lsa"), "z = s + LSA(LN(s))", BOTH, source=4.28)
    _cells(sheet, 5.09, middle, window, LOCAL, attends=True, regional=True)
    _block(sheet, 6.6, 0.85, middle, words("ffn"), "z + FFN(LN(z))", BOTH, source=6.42)
    sheet.text(7.025, middle + 0.48, f"{C} → {architecture.hidden} → {C}")
    sheet.arrow([(7.76, middle), (7.85, middle), (7.85, above), (8.15, above)], REGIONAL)
    sheet.arrow([(7.76, middle), (7.85, middle), (7.85, below), (8.15, below)], LOCAL)

    sheet.text(0.3, top + 2.5, words("note"), ha="left")
    if architecture.stages[0].peg:
        sheet.text(0.3, top + 2.5 + LINE, words("peg note"), ha="left")


def _block(sheet: Sheet, x: float, width: float, y: float, name: str, formula: str, color: str, source: float) -> None:
    """Draw a box with its formula below, an arrow into it from `source`, and a residual around it, which is added."""
    tall, plus = 0.56, x + width + 0.2
    sheet.rectangle(x, y - tall / 2, width, tall, facecolor=PALE[color], edgecolor=color, linewidth=1.2, zorder=2)
    head, _, rest = name.partition("\n")
    sheet.text(x + width - 0.39, y - tall / 2 + 0.05, head, 9, weight="bold", color=color)
    sheet.text(x + width - 0.39, y - tall / 2 + 0.22, rest, 7.5)
    sheet.text(x + width / 2, y + tall / 2 + 0.05, formula)
    sheet.arrow([(source, y), (x, y)], color)
    sheet.lines([[(x + width, y), (plus - 0.08, y)]], color=color, linewidth=1.2)
    bow = y - tall / 2 - 0.12
    sheet.arrow([((source + x) / 2, y), ((source + x) / 2, bow), (plus, bow), (plus, y - 0.08)], color)
    sheet.polygon(_circle(plus, y, 0.08), facecolor="white", edgecolor=color, linewidth=1.2, zorder=3)
    sheet.lines(
        [[(plus - 0.05, y), (plus + 0.05, y)], [(plus, y - 0.05), (plus, y + 0.05)]],
        color=color,
        linewidth=1.2,
        zorder=4,
    )
    sheet.lines([[(plus + 0.08, y), (plus + 0.12, y)]], color=color, linewidth=1.2)


def _cells(
    sheet: Sheet,
    x: float,
    y: float,
    shape: Shape,
    color: str,
    behind: bool = False,
    attends: bool = False,
    regional: bool = False,
) -> None:
    """Draw a grid of tokens around a point.

    behind: with another one behind it; attends: with lines from one token to the others; regional: from a regional
    token beside them, which is drawn too.
    """
    rows, columns = shape
    cell = 0.44 / max(shape)
    left, top = x - cell * columns / 2, y - cell * rows / 2
    for shift in (0.06, 0.0) if behind else (0.0,):
        style = {"facecolor": PALE[color], "edgecolor": color, "linewidth": 0.8, "zorder": 3}
        sheet.rectangle(left + shift, top - shift, cell * columns, cell * rows, **style)
    across, down = left + cell * np.arange(columns + 1), top + cell * np.arange(rows + 1)
    sheet.grid(across, down, color=color, linewidth=0.5, zorder=3)
    if not attends:
        return
    step = -(-max(shape) // MOST)
    centers = [(a + cell / 2, b + cell / 2) for b in down[:-1:step] for a in across[:-1:step]]
    start = across[columns // 2] + cell / 2, down[rows // 2] + cell / 2
    if regional:
        start = (left - 0.13, y)
        sheet.rectangle(start[0] - 0.05, y - 0.05, 0.1, 0.1, facecolor=REGIONAL, linewidth=0, zorder=5)
    else:
        sheet.rectangle(start[0] - cell / 2, start[1] - cell / 2, cell, cell, facecolor=color, linewidth=0, zorder=5)
    sheet.lines([[start, center] for center in centers], color=REGIONAL, linewidth=0.4, zorder=4)


def _map(
    sheet: Sheet, x: float, bottom: float, shape: Shape, cell: float, depth: float, color: str, ws: int, chosen: Shape
) -> None:
    """Draw a map of tokens as a block whose depth stands for channels, with its windows and the chosen one."""
    rows, columns = shape
    left, top = x - cell * columns / 2, bottom - cell * rows
    right, dx, dy = x + cell * columns / 2, 0.8 * depth, -0.5 * depth
    sides = [
        [(left, top), (left + dx, top + dy), (right + dx, top + dy), (right, top)],
        [(right, top), (right + dx, top + dy), (right + dx, bottom + dy), (right, bottom)],
    ]
    for points in sides:
        sheet.polygon(points, facecolor=PALE[color], edgecolor=color, linewidth=0.6, zorder=2)
    sheet.rectangle(left, top, right - left, bottom - top, facecolor="white", edgecolor=color, linewidth=0.8, zorder=2)
    r, c = (ws * at for at in chosen)
    high, wide = min(ws, rows - r), min(ws, columns - c)
    sheet.rectangle(left + c * cell, top + r * cell, wide * cell, high * cell, facecolor=PALE[color], zorder=2)
    across, down = left + cell * np.arange(columns + 1), top + cell * np.arange(rows + 1)
    if ws > 1:
        sheet.grid(across, down, color=color, linewidth=0.2, zorder=2)
    sheet.grid([*across[:-1:ws], right], [*down[:-1:ws], bottom], color=color, linewidth=0.8, zorder=3)


def _scene(sheet: Sheet, x: float, y: float, view: tuple[float, ...], inch: float, size: tuple[int, int]) -> None:
    """Draw a part of a made-up picture: view (top, left, bottom, right) in its pixels, `inch` inches to a pixel.

    What lies outside the picture is gray.
    """
    top, left, bottom, right = view
    inside = max(top, 0), max(left, 0), min(bottom, size[0]), min(right, size[1])
    if inside != view:
        sheet.rectangle(x, y, (right - left) * inch, (bottom - top) * inch, facecolor=PADDING, linewidth=0)
    up, begin, down, end = inside
    place = x + (begin - left) * inch, y + (up - top) * inch
    frame = sheet.rectangle(*place, (end - begin) * inch, (down - up) * inch, facecolor=SKY, linewidth=0)
    for color, points in SCENE:
        corners = [(x + (a * size[1] - left) * inch, y + (b * size[0] - top) * inch) for a, b in points]
        sheet.polygon(corners, facecolor=color, linewidth=0).set_clip_path(frame)


def _circle(x: float, y: float, radius: float) -> list[Point]:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return [(x + radius * a, y + radius * b) for a, b in zip(np.cos(angles), np.sin(angles), strict=True)]


def _edges(count: int, side: int, pixels: int) -> np.ndarray:
    """Return where the patches of a side begin and end in a picture, padded at both ends: [count + 1]."""
    return np.clip(side * np.arange(count + 1) - (count * side - pixels) // 2, 0, pixels)


def _chosen(architecture: Architecture) -> Shape:
    """Return the region of the picture that is followed, (row, column): the one where something is to be seen."""
    return tuple(int(share * count) for share, count in zip(CHOSEN, architecture.regional[2:], strict=True))


def _beginnings(architecture: Architecture) -> list[Shape]:
    """Return where the chosen region's patch and its window begin, (y, x) in pixels.

    They differ in a padded picture: for patches it is padded at both ends, its local map at the bottom and right.
    """
    windows = tuple(architecture.region * at for at in _chosen(architecture))
    sizes = zip(architecture.regional[2:], architecture.picture[2:], strict=True)
    before = [(count * architecture.region - pixels) // 2 for count, pixels in sizes]
    return [tuple(at - pad for at, pad in zip(windows, before, strict=True)), windows]


def followed(architecture: Architecture) -> list[Shape]:
    """Return the region that contains the chosen one, (row, column), in each stage."""
    place, found = _chosen(architecture), []
    for stage in architecture.stages:
        place = tuple(at // stage.halving for at in place)
        found.append(place)
    return found


def _convolutions(convolutions: Sequence[tuple[int, int]], words: Words) -> str:
    (kernel, _), strides = convolutions[0], ", ".join(str(stride) for _, stride in convolutions)
    key = "convolutions" if len(convolutions) > 1 else "convolution"
    return words(key, count=len(convolutions), kernel=kernel, strides=strides)


def _shape(shape: Shape) -> str:
    return str(list(shape))


# A made-up picture, x and y from 0 to 1: the sun, two hills, a house.
SCENE = [
    ("#f6cf5b", _circle(0.70, 0.27, 0.13)),
    ("#a9c48a", [(0, 1), (0, 0.62), (0.18, 0.52), (0.38, 0.60), (0.62, 0.72), (1, 0.80), (1, 1)]),
    ("#7fa66a", [(0, 1), (0, 0.86), (0.30, 0.80), (0.62, 0.68), (0.85, 0.62), (1, 0.66), (1, 1)]),
    ("#f4efe6", [(0.24, 0.80), (0.24, 0.60), (0.44, 0.60), (0.44, 0.80)]),
    ("#b5533c", [(0.20, 0.61), (0.34, 0.46), (0.48, 0.61)]),
    ("#6b4a3a", [(0.31, 0.80), (0.31, 0.69), (0.37, 0.69), (0.37, 0.80)]),
]
CHOSEN = 0.56, 0.43  # down and to the right: the edge of the roof
