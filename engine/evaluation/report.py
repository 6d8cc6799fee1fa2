"""The report on an evaluation: one HTML file that needs nothing beside it, to be opened from disk."""

import base64
import datetime

import jinja2

from data import FOLDER
from engine.config.load import dump_config
from engine.output.folder import read_environments
from engine.system.environment import PROJECT

TITLES = {
    "predictions": "The first pictures",
    "class_quality": "Each class",
    "confusion_matrix": "Confusion matrix",
    "reliability": "Reliability",
    "mistakes": "The most confident mistakes",
}


def report(measured, config, pngs, curves, trained_in):
    """Return the page.

    Args:
        measured: as `evaluate_weights` returns it.
        pngs: the figures of predictions, bytes by their names; curves: learning curves, bytes, none if not known.
        trained_in: the folder of the weights, a Path.
    """
    return _template().render(
        measured=measured,
        name=config.model.name,
        headline=_headline(measured),
        per_class=list(zip(measured["classes"], measured["per_class"], strict=True)),
        figures={name: (TITLES[name], _embedded(png)) for name, png in pngs.items()},
        curves=[_embedded(png) for png in curves],
        evaluated_with=_said({key.replace("archive", "data"): x for key, x in measured["provenance"].items()}),
        trained_with=[_said(facts) for facts in read_environments(trained_in)],
        config=dump_config(config),
        written=f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
    )


def _headline(measured):
    """Pairs of a name and a value as people read it."""
    return {
        "top-1": f"{measured['top1']:.2%}",
        "top-5": f"{measured['top5']:.2%}",
        "loss": f"{measured['loss']:.4f}",
        "calibration error": f"{measured['ece']:.2%}",
        "pictures a second": f"{measured['images_per_second']:.0f}",
        "the model alone": f"{measured['model_images_per_second']:.0f} a second",
    }


def _said(facts):
    """Return facts without what means nothing: one's own pictures have no official archive."""
    own = facts.get("data_name") == FOLDER
    return {key: value for key, value in facts.items() if not (own and key.endswith("official"))}


def _embedded(png):
    """A PNG as the address of itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _template():
    loader = jinja2.FileSystemLoader(PROJECT / "engine" / "evaluation")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja")
