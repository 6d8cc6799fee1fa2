"""The report on an evaluation: one HTML file that needs nothing beside it, to be opened from disk."""

import base64
import datetime

import jinja2

from . import config as configs, figures, plots
from .history import HISTORY, read_history
from .output import REPORT, read_environment
from .runtime import PROJECT

TITLES = {
    "predictions": "The first pictures",
    "class_quality": "Each class",
    "confusion_matrix": "Confusion matrix",
    "reliability": "Reliability",
    "mistakes": "The most confident mistakes",
}


def write_report(output, measured, config, trained_in):
    """Write `report.html` from the PNGs that lie in a folder and what `eval.json` holds.

    Learning curves come from the history of the run, where the weights lie beside one.

    Args:
        output: the folder, a Path. measured: as `evaluate_weights` returns it.
        trained_in: the folder of the weights, a Path.

    Raises:
        OSError: a file cannot be read or written.
    """
    page = _template().render(
        measured=measured,
        name=config.model.name,
        headline=_headline(measured),
        per_class=list(zip(measured["classes"], measured["per_class"], strict=True)),
        figures={name: (TITLES[name], _embedded(output / file)) for name, file in figures.FILES.items()},
        curves=[_embedded(file) for file in _curves(trained_in, output)],
        evaluated_with=measured["provenance"],
        trained_with=read_environment(trained_in),
        config=configs.dump(config),
        written=f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
    )
    (output / REPORT).write_text(page, encoding="utf-8")


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


def _curves(trained_in, output):
    """Draw the run's learning curves into the folder; return their files, none where there is no history."""
    file = trained_in / HISTORY
    return plots.plot_curves(read_history(file), output) if file.exists() else []


def _embedded(file):
    """A PNG as the address of itself."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def _template():
    loader = jinja2.FileSystemLoader(PROJECT / "engine")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja")
