"""The report on an evaluation: one self-contained HTML file."""

import base64
import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

from data import FOLDER
from engine.config.load import dump_config
from engine.config.options import Config
from engine.output.folder import read_environments
from engine.system.environment import PROJECT

TITLES = {
    "predictions": "The first pictures",
    "class_quality": "Each class",
    "confusion_matrix": "Confusion matrix",
    "reliability": "Reliability diagram",
    "mistakes": "The most confident mistakes",
}


def page(
    measured: dict[str, Any], config: Config, pngs: dict[str, bytes], curves: Iterable[bytes], trained_in: Path
) -> str:
    """Return the report as HTML.

    Args:
        measured: as `evaluate_weights` returns it.
        pngs: the figures of predictions, by name.
        curves: the learning curves, none if the history is not known.
        trained_in: the folder of the weights.
    """
    return _template().render(
        measured=measured,
        name=config.model.name,
        headline=_headline(measured),
        per_class=list(zip(measured["classes"], measured["per_class"], strict=True)),
        figures={name: (TITLES[name], _embedded(png)) for name, png in pngs.items()},
        curves=[_embedded(png) for png in curves],
        evaluated_with=_known({key.replace("archive", "data"): x for key, x in measured["provenance"].items()}),
        trained_with=[_known(facts) for facts in read_environments(trained_in)],
        config=dump_config(config),
        written=f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
    )


def _headline(measured: dict[str, Any]) -> dict[str, str]:
    """Return the main results, formatted, by name."""
    top5 = {} if measured["top5"] is None else {"top-5": f"{measured['top5']:.2%}"}
    return {
        "top-1": f"{measured['top1']:.2%}",
        **top5,
        "loss": f"{measured['loss']:.4f}",
        "calibration error": f"{measured['ece']:.2%}",
        "pictures per second": f"{measured['images_per_second']:.0f}",
        "the model alone": f"{measured['model_images_per_second']:.0f} per second",
    }


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts without those that do not apply: a folder of pictures has no official archive."""
    own = facts.get("data_name") == FOLDER
    return {key: value for key, value in facts.items() if not (own and key.endswith("official"))}


def _embedded(png: bytes) -> str:
    """Return a PNG as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(PROJECT / "engine" / "evaluation")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja")
