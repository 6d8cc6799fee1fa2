"""The explorer's answers as HTML: probabilities, panels of a stage, rollouts side by side."""

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from html import escape

import numpy as np
from PIL import Image

from engine.explorer.explorer import Explorer, Region, Seen, numbers, same_region
from engine.explorer.words import Words
from engine.figures.attention import lsa_panel, rollout_panel, rsa_panel
from engine.figures.overlays import UNITS, Panel, as_pixels
from engine.inference.attention import Observed
from models.attended import Attended
from models.attention_maps import StageAttention

PICTURE, PANEL = 448, 224  # sides of drawn pictures, in pixels: multiples of 32 and of 224
MEAN = "mean"  # the choice of all encoders, or of all heads, instead of a number from 0

CSS = """
.gradio-container { max-width: 1280px !important; margin: 0 auto !important; }
.explorer p, .explorer figure, .explorer table { margin: 0; }
.explorer .facts { opacity: 0.75; font-size: 0.9rem; overflow-wrap: anywhere; }
.explorer .explained p + p { margin-top: 0.3rem; }
.explorer .error { color: #b91c1c; font-weight: 600; overflow-wrap: anywhere; }
.dark .explorer .error { color: #fca5a5; }
.explorer table { width: 100%; border-collapse: collapse; border: 0 !important; }
.explorer td { padding: 0.15rem 0.3rem; border: 0 !important; overflow-wrap: anywhere; }
.explorer td:last-child { width: 4.6rem; text-align: right; font-variant-numeric: tabular-nums; }
.explorer .bar { height: 0.35rem; background: #31688e; border-radius: 2px; min-width: 1px; }
.explorer .panels { display: flex; flex-wrap: wrap; gap: 0.8rem; }
.explorer tr { border: 0 !important; }
.explorer .panels figure { flex: 1 1 130px; max-width: 290px; }
.explorer .panels img { width: 100%; aspect-ratio: 1; image-rendering: pixelated; display: block; }
.explorer .scale { display: flex; gap: 0.4rem; align-items: center; font-size: 0.75rem; margin-top: 0.2rem; }
.explorer .scale i { flex: 1; height: 0.5rem;
  background: linear-gradient(90deg, #440154, #3b528b, #21918c, #5ec962, #fde725); }
.explorer figcaption { font-size: 0.85rem; line-height: 1.25; }
#picture img { image-rendering: pixelated; cursor: pointer; }
"""


def picture(observed: Observed, region: Region) -> np.ndarray:
    """Draw the picture with its regions: lines between them, the chosen one outlined: uint8 [448, 448, 3]."""
    place = observed.at(region, [0] * len(observed.maps))[0].place
    drawn = as_pixels(Panel("", box=place.box()), observed.picture, observed.side, PICTURE)
    bare = as_pixels(Panel(""), observed.picture, observed.side, PICTURE)
    untouched = (drawn == bare).all(axis=2)
    for at in (place.edges[1:-1] * PICTURE // observed.side).astype(int):
        for line in (np.s_[at, :], np.s_[:, at]):
            half = (bare[line] * 0.5 + np.where(bare[line].mean(axis=1, keepdims=True) < 128, 127, 0)).astype(np.uint8)
            drawn[line] = np.where(untouched[line][:, None], half, drawn[line])
    return drawn


def top(explorer: Explorer, seen: Seen, words: Words) -> str:
    """Return the top five of each model as tables, one below the other."""
    tables = []
    for model, guesses in zip(explorer.models, explorer.top(seen), strict=True):
        rows = "".join(
            f'<tr><td>{escape(name)}<div class="bar" style="width:{100 * share:.2f}%"></div></td>'
            f'<td data-share="{share!r}">{share:.2%}</td></tr>'
            for name, share in guesses
        )
        about = escape(str(model.weights)) if len(explorer.models) > 1 else ""
        tables.append(f'<p class="facts">{about}</p><table class="top"><tbody>{rows}</tbody></table>')
    return _box(f"<p><b>{words.top}</b></p>" + "".join(tables))


def stage(observed: Observed, attended: Attended, choice: str | int, words: Words) -> str:
    """Return the panels of a stage: RSA, LSA of the regional and of the mean local token, rollout.

    choice: the number of a head, or "mean".
    """
    head = None if choice == MEAN else int(choice)
    told = numbers(attended, head)
    row, column = told.most
    alone = attended.rsa[0].size == 1
    rsa = words.rsa.format(most=f"{row},{column}", most_share=f"{told.most_share:.2%}", own=f"{told.own:.2%}")
    panels = [
        (rsa_panel(attended, head), words.alone if alone else rsa),
        (lsa_panel(attended, attended.regional, head), words.regional.format(share=f"{told.regional:.2%}")),
        (lsa_panel(attended, attended.local, head), words.local.format(share=f"{told.local:.2%}")),
        _rollout(attended, words),
    ]
    return _panels(observed, panels, words)


def both(explorer: Explorer, seen: Seen, region: Region, words: Words) -> str:
    """Return the rollouts of two models, for a region of the first and the other's region at its middle; of one, ""."""
    if len(explorer.models) == 1:
        return ""
    rows = [_box(f"<h3>{words.compare}</h3>")]
    for model, observed in zip(explorer.models, seen.observed, strict=True):
        there = region if observed is seen.observed[0] else same_region(seen.observed[0], region, observed)
        stages = observed.at(there, [0] * len(observed.maps))
        about = f"{escape(str(model.weights))}: {there[0]},{there[1]}"
        panels = _panels(observed, [_rollout(each, words) for each in stages], words)
        rows.append(_box(f'<p class="facts">{about}</p>') + panels)
    return "".join(rows)


def head(explorer: Explorer, words: Words) -> str:
    """Return the top of the page: its title, what to do, and which models these are."""
    lines = []
    for model in explorer.models:
        lines.append(" · ".join([model.config.model.name, str(model.weights), model.device]))
        if model.about_temperature:
            lines.append(model.about_temperature)
    facts = "".join(f'<p class="facts">{escape(text)}</p>' for text in [*lines, *explorer.notes])
    return _box(f"<h1>{words.title}</h1><p>{words.introduction}</p>{facts}")


def explained(words: Words) -> str:
    """Return one sentence each on RSA, LSA and rollout."""
    return _box('<div class="explained">' + "".join(f"<p>{text}</p>" for text in words.explained) + "</div>")


def heading(number: int, maps: StageAttention, words: Words) -> str:
    """Return the heading of a stage, with its grid of regions and its windows."""
    (Hr, Wr), ws = maps.grid, maps.ws
    regions = words.one_region if Hr * Wr == 1 else words.regions.format(grid=f"{Hr} x {Wr}")
    text = words.stage.format(number=number, regions=regions, window=f"{ws} x {ws}")
    return _box(f"<h3>{text}</h3>")


def choices(count: int, words: Words) -> list[tuple[str, str | int]]:
    """Return what a user may choose among encoders or heads: (what the page says, value)."""
    return [(words.mean, MEAN), *((str(i + 1), i) for i in range(count))]


def name(seen: Seen, words: Words) -> str:
    """Return what the page calls a picture."""
    return seen.name if seen.label is None else words.labeled.format(name=seen.name, label=seen.label)


def line(text: str, kind: str = "") -> str:
    """Return text as a line of HTML; an error is read out by screen readers."""
    role = ' role="alert"' if kind == "error" else ""
    return _box(f'<p class="{kind}"{role}>{escape(text)}</p>')


def _rollout(attended: Attended, words: Words) -> tuple[Panel, str]:
    told = numbers(attended, None)
    text = words.rollout.format(inside=f"{told.inside:.2%}")
    if told.padding > 0.005:
        text += words.padding.format(share=f"{told.padding:.2%}")
    return replace(rollout_panel(attended.rollout), box=attended.place.box()), text


def _panels(observed: Observed, panels: Sequence[tuple[Panel, str]], words: Words) -> str:
    figures = []
    for panel, text in panels:
        data = _png(as_pixels(panel, observed.picture, observed.side, PANEL))
        highest = UNITS[panel.unit](panel.top)
        if panel.unit == "times":
            highest = words.even.format(times=highest.partition(" ")[0])
        scale = f'<div class="scale" aria-hidden="true">0<i></i>{highest}</div>'
        figures.append(
            f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}">{scale}'
            f"<figcaption>{escape(text)}</figcaption></figure>"
        )
    return _box(f'<div class="panels">{"".join(figures)}</div>')


def _png(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _box(html: str) -> str:
    return f'<div class="explorer">{html}</div>'
