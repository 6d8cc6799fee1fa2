"""The report on an evaluation: one self-contained HTML file."""

import base64
import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from common.words import counted
from data import FOLDER
from engine.config.load import dump_config
from engine.config.options import Config
from engine.evaluation import robustness
from engine.figures.curves import as_png, draw_curves
from engine.figures.predictions import LARGE
from engine.history import Point
from engine.metrics.robustness import error
from engine.output.folder import read_environments
from engine.system.environment import PROJECT

TITLES = {
    "predictions": "The first pictures",
    "class_quality": "Each class",
    "confusion_matrix": "Confusion matrix",
    "reliability": "Reliability diagram",
    "mistakes": "The most confident mistakes",
}
WHY_WORSE = (
    "Training can look worse than validation: it is measured on augmented pictures, with whatever drops parts of the "
    "model or mixes pictures, and its accuracy is the mean over an epoch during which the model still learned. "
    "Validation is measured on untouched pictures after the epoch."
)

ABOUT_INTERVALS = (
    "95 %: Wilson's interval of the accuracy, or of the class's recall. It says how far that on all pictures of the "
    "same kind may be from that on these few, not what another seed would change."
)


COLOURS = {"train": "#D55E00", "val": "#0072B2"}  # of Okabe and Ito; the notebook's cyan is hard to see on white
DPI = 144  # of the figures
LETTERS = 72  # CSS pixels per inch at which letters of 9 points are still readable; a wider figure scrolls
SMALL_LETTERS = 108  # the same for figures that name many classes, in letters of 6 points
NAMES_CLASSES = ("class_quality", "confusion_matrix")
WIDEST = 106  # CSS pixels per inch at the most


@dataclass(frozen=True)
class Shown:
    """A figure as the page shows it: data URLs, one for narrow screens or "", and the limits of its width in pixels."""

    url: str
    narrow: str
    least: int
    most: int


def page(
    measured: dict[str, Any],
    config: Config,
    pngs: dict[str, bytes],
    narrow: dict[str, bytes],
    curves: Iterable[bytes],
    trained_in: Path,
) -> str:
    """Return the report as HTML.

    Args:
        measured: as `evaluate_weights` returns it.
        pngs: the figures of predictions, by name, drawn with `DPI`.
        narrow: those of them that narrow screens show instead.
        curves: the learning curves, none if the history is not known.
        trained_in: the folder of the weights.
    """
    dense = NAMES_CLASSES if len(measured["classes"]) > LARGE else ()
    return _template().render(
        measured=measured,
        name=config.model.name,
        count=counted(measured["images"], "picture"),
        headline=_headline(measured),
        about_loss=_about_loss(measured),
        about_temperature=_about_temperature(measured),
        about_intervals=ABOUT_INTERVALS,
        range_of=lambda ends: f"{100 * ends[0]:.1f} to {ends[1]:.1%}",
        about_robustness=_about_robustness(trained_in, measured["provenance"]["weights_sha256"]),
        about_curves=WHY_WORSE,
        per_class=list(zip(measured["classes"], measured["per_class"], strict=True)),
        figures={
            name: (TITLES[name], _shown(png, narrow.get(name), SMALL_LETTERS if name in dense else LETTERS))
            for name, png in pngs.items()
        },
        curves=[_shown(png) for png in curves],
        evaluated_with=_known({key.replace("archive", "data"): x for key, x in measured["provenance"].items()}),
        trained_with=[_known(facts) for facts in read_environments(trained_in)],
        config=dump_config(config),
        written=f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
    )


def report_curves(points: Sequence[Point], config: Config) -> list[bytes]:
    """Return the learning curves as the report shows them, as PNGs; none without points."""
    titles = {"loss": loss_name(config.loss.label_smoothing).capitalize(), "top1": "Accuracy"}
    drawn = draw_curves(points, titles, COLOURS, (4.95, 3.4), note="") if points else {}
    return [as_png(figure, dpi=DPI) for figure in drawn.values()]


def loss_name(*smoothings: float) -> str:
    """Return the name of a loss that is trained with, or of those of several runs."""
    if not any(smoothings):
        return "loss (cross entropy)"
    return f"loss with label smoothing {', '.join(f'{smoothing:g}' for smoothing in smoothings)}"


def _headline(measured: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the main results, formatted, by name, each with a small print."""
    smoothing, top5, after = measured["label_smoothing"], measured["top5"], measured["calibrated"]
    entropy, ece = "", ""
    if after:
        entropy = f"with the temperature: {after['cross_entropy']:.4f}"
        ece = f"with the temperature: {after['ece']:.2%}"
    # Of five or fewer classes the top-5 accuracy would be 100 %.
    of_five = {} if top5 is None else {"top-5": (f"{top5:.2%}", _interval(measured["top5_interval"]))}
    return {
        "top-1": (f"{measured['top1']:.2%}", _interval(measured["top1_interval"])),
        **of_five,
        **({"cross entropy": (f"{measured['cross_entropy']:.4f}", entropy)} if smoothing else {}),
        loss_name(smoothing): (f"{measured['loss']:.4f}", "" if smoothing else entropy),
        "calibration error": (f"{measured['ece']:.2%}", ece),
        "pictures per second": (
            f"{measured['images_per_second']:.0f}",
            f"the model alone: {measured['model_images_per_second']:.0f}",
        ),
    }


def _interval(ends: Sequence[float]) -> str:
    return f"95 %: {ends[0]:.2%} to {ends[1]:.2%}"


def _about_temperature(measured: dict[str, Any]) -> str:
    """Return what the temperature is and does, or why none is used; "" if none is noted."""
    about, smoothing = measured["about_temperature"], measured["label_smoothing"]
    if not measured["calibrated"]:
        return about
    softer, after = measured["temperature"] > 1, measured["calibrated"]
    why = f" Label smoothing {smoothing:g} left it less confident than it is right." if smoothing and not softer else ""
    accuracy = "leaves the accuracy as it is"
    if after["top1"] != measured["top1"]:  # of averages over two views
        accuracy = f"makes the accuracy {after['top1']:.2%}"
    return (
        f"{about[0].upper()}{about[1:]}. Probabilities are softmax(logits / temperature), which makes this model "
        f"{'less' if softer else 'more'} confident and {accuracy}.{why} On these pictures it changes the calibration "
        f"error from {measured['ece']:.2%} to {after['ece']:.2%}, and the cross entropy from "
        f"{measured['cross_entropy']:.4f} to {after['cross_entropy']:.4f}."
    )


def _about_loss(measured: dict[str, Any]) -> str:
    """Return what label smoothing does to the numbers, "" without it.

    The smoothed loss is least where the probabilities are the smoothed labels; it is then their entropy.
    """
    smoothing, classes = measured["label_smoothing"], len(measured["classes"])
    if not smoothing:
        return ""
    other = smoothing / classes
    true = 1 - smoothing + other
    least = -true * math.log(true) - (classes - 1) * other * math.log(other)
    return (
        f"Label smoothing {smoothing:g} rewards a probability of {true:.0%} for the true class, not of 100%. So even "
        f"a model that is always right has a loss of {least:.2f} or more, and at that loss a calibration error of "
        f"{1 - true:.0%}, because its confidence is lower than its accuracy. The cross entropy is without smoothing."
    )


def _about_robustness(trained_in: Path, sha256: str) -> str:
    """Return what is known of these weights under corruptions, "" if nothing is."""
    found = robustness.of_weights(trained_in, sha256)
    if found is None:
        return ""
    worst, largest = max(((x, error(values)) for x, values in found["accuracy"].items()), key=lambda pair: pair[1])
    return (
        f"The accuracy on {counted(found['images'], 'picture')} ({found['split']}) is {found['clean']:.2%}. Under "
        f"{counted(len(found['accuracy']), 'corruption')} at {robustness.SEVERITIES} severities ({found['source']}) "
        f"it is {1 - found['mean_error']:.2%} on average, and least under {worst.replace('_', ' ')}: {1 - largest:.2%}."
    )


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts without those that do not apply: a folder of pictures has no official archive."""
    own = facts.get("data_name") == FOLDER
    return {key: value for key, value in facts.items() if not (own and key.endswith("official"))}


def _shown(png: bytes, narrow: bytes | None = None, letters: int = LETTERS) -> Shown:
    return Shown(
        _embedded(png),
        _embedded(narrow) if narrow else "",
        round(_inches(narrow or png) * letters),
        round(_inches(png) * WIDEST),
    )


def _inches(png: bytes) -> float:
    return int.from_bytes(png[16:20], "big") / DPI  # its first chunk begins with the width in pixels


def _embedded(png: bytes) -> str:
    """Return a PNG as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(PROJECT / "engine" / "evaluation")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja")
