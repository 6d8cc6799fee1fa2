"""The accuracy of saved weights under the corruptions of CIFAR-10-C: `robustness.json`, its table and its heat map."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import data
from data import cifar_c, corruptions, distortions
from data.corruptions import SEVERITIES
from data.dataset import stratified_subset
from engine import filenames
from engine.config import build
from engine.config.options import Config
from engine.errors import UserError
from engine.evaluation import markdown
from engine.figures.curves import as_png
from engine.figures.robustness import heat_map
from engine.inference.trained import Trained, load
from engine.metrics import robustness
from engine.metrics.evaluate import evaluate
from engine.system.atomic import replace_contents, writing_into
from engine.system.device import describe_device
from engine.system.terminal import has_progress_bar

SIDE = 32  # of the pictures for which the strengths are
PUBLISHED = "CIFAR-10-C"
MADE = "made here, not comparable with published figures"
DPI = 144
# What must be the same for a model and its baseline.
SAME = ("source", "seed", "libraries", "split", "holdout", "holdout_split", "images", "data_md5")
NAMES = {
    "mean_error": "mean error over corruptions and severities: not divided by a baseline's, as papers report it for "
    "CIFAR-10-C",
    "mce": "mCE: the mean over corruptions of the model's errors, summed over severities, divided by the baseline's",
    "relative_mce": "relative mCE: the same, each error less the one on clean pictures; below 100%: the model loses "
    "less than the baseline",
}


@dataclass(frozen=True)
class Source:
    """Where corrupted pictures come from: (corruption, severity) -> uint8 [n, 32, 32, 3], and a description."""

    names: list[str]
    images: Callable[[str, int], np.ndarray]
    about: dict[str, Any]
    notes: list[str]


def measure_robustness(
    weights: str | Path,
    config: Config,
    output: str | Path,
    folder: str | Path | None = None,
    frost: str | Path | None = None,
    pictures: int | None = None,
    seed: int = 0,
    baseline: str | Path | None = None,
) -> dict[str, Any]:
    """Measure weights or an export under all corruptions; write `robustness.json` and `robustness.png`.

    Args:
        output: the folder to write into.
        folder: CIFAR-10-C; None: the corruptions are made from the config's validation pictures.
        frost: folder with the pictures of frost, for corruptions made here; None: frost is left out.
        pictures: measure on so many of the pictures, in proportion of all classes, always the same ones; None: on all.
        seed: of the corruptions made here.
        baseline: `robustness.json` of the weights whose errors normalize those of these.

    Returns:
        the content of `robustness.json`: accuracy (of each corruption, at severities 1 to 5), clean (accuracy without
        corruption), mean_error, source, comparable (with published figures), seed and libraries (None for CIFAR-10-C),
        images, split, holdout and holdout_split (None unless the pictures are held-out ones), data_md5, weights,
        weights_sha256, device, notes, and baseline (None without one): weights, errors, mce, relative_errors,
        relative_mce.

    Raises:
        DataError: the data, CIFAR-10-C or the pictures of frost cannot be used.
        UserError: the weights, the baseline or the output folder cannot be used, or the pictures are not 32 x 32.
    """
    base = read_baseline(baseline) if baseline is not None else None
    if folder is not None:
        _check_is_cifar10(config)
    if build.side(config) != SIDE:
        raise UserError(
            f"data.side: {build.side(config)}, but the corruptions are for pictures of {SIDE} x {SIDE}: set "
            f"data.side={SIDE} (data.image_size is the side that the model sees)",
            key="data.side",
            value=build.side(config),
        )
    trained = load(weights, config)
    val = trained.dataset.val
    if pictures is not None and not 1 <= pictures <= len(val):
        raise UserError(
            f"--pictures {pictures}: there are {len(val)} {val.name} pictures: give 1 to {len(val)}",
            key="--pictures",
            value=pictures,
        )
    chosen = np.arange(len(val)) if pictures is None else stratified_subset(val.labels, pictures)
    clean = np.asarray(val.images[chosen])
    if folder is not None:
        source = _published(folder, val, trained.dataset.classes, chosen)
    else:
        source = _made(clean, chosen, seed, frost)
    described = {
        **source.about,
        "images": len(chosen),
        "split": val.name,
        "holdout": config.data.holdout or None,
        "holdout_split": config.data.holdout_split if config.data.holdout else None,
        "data_md5": trained.dataset.md5,
    }
    if base is not None:
        _check_baseline(str(baseline), base, described, source.names)
    with writing_into(output):
        pass  # fail before the evaluation, not after it

    def accuracy(images: np.ndarray) -> float:
        return _accuracy(trained, data.Split(val.name, images, val.labels[chosen]))

    of_clean = accuracy(clean)
    steps = [(name, severity) for name in source.names for severity in range(1, SEVERITIES + 1)]
    of_all: dict[str, list[float]] = {name: [] for name in source.names}
    bar = tqdm(steps, desc="corruptions", disable=not has_progress_bar())
    for name, severity in bar:
        bar.set_postfix_str(f"{name} {severity}")
        of_all[name].append(accuracy(source.images(name, severity)))
        if severity == SEVERITIES and not has_progress_bar():
            print(f"{name}: {', '.join(_percent(value) for value in of_all[name])}", flush=True)
    measured = {
        "accuracy": of_all,
        "clean": of_clean,
        "mean_error": robustness.mean_error(of_all),
        **described,
        "weights": str(weights),
        "weights_sha256": trained.sha256,
        "device": describe_device(trained.device),
        "notes": source.notes,
        "baseline": _normalized(of_all, of_clean, base),
    }
    _write(measured, output)
    return measured


def table(measured: dict[str, Any]) -> str:
    """Return what was measured as Markdown: the accuracies, then each mean with its meaning."""
    base = measured["baseline"]
    head = ["corruption", *map(str, range(1, SEVERITIES + 1)), "mean", *["CE"] * (base is not None)]
    rows = [
        [
            name,
            *(f"{value:.2%}" for value in values),
            f"{np.mean(values):.2%}",
            *([_percent(base["errors"][name])] if base else []),
        ]
        for name, values in measured["accuracy"].items()
    ]
    means = [f"{measured['mean_error']:.2%} {NAMES['mean_error']}"]
    if base:
        undefined = "; not defined here, because under a corruption the baseline has no errors, or none more"
        means += [f"{_percent(base[x])} {NAMES[x]}{undefined * (base[x] is None)}" for x in ("mce", "relative_mce")]
    about = f"{measured['source']}, {measured['images']} pictures ({measured['split']})"
    lists = [f"- {line}" for line in [f"{measured['clean']:.2%} accuracy without corruption", *means]]
    return "\n".join(
        [
            f"Accuracy by severity; {about}:",
            "",
            markdown.table(head, rows),
            "",
            *lists,
            *(f"- {x}" for x in measured["notes"]),
        ]
    )


def read_baseline(file: str | Path) -> dict[str, Any]:
    """Return the content of another `robustness.json`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = Path(file)
    content = _content(path)
    if content is None:
        raise UserError(
            f"--baseline {path}: missing, damaged or not a {filenames.ROBUSTNESS}: give the one that this script wrote "
            "for the other weights",
            key="--baseline",
            value=str(path),
            place=path,
        )
    return content


def of_weights(folder: Path, sha256: str) -> dict[str, Any] | None:
    """Return what `robustness.json` in a folder says of the weights with this SHA-256; None if it says nothing."""
    content = _content(folder / filenames.ROBUSTNESS)
    return content if content is not None and content.get("weights_sha256") == sha256 else None


def _content(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        numbers = [content["clean"], content["mean_error"], *itertools.chain(*content["accuracy"].values())]
        whole = all(isinstance(number, float) and 0 <= number <= 1 for number in numbers) and content["accuracy"]
        whole = whole and isinstance(content["images"], int)
        whole = whole and all(isinstance(content[key], str) for key in ("source", "split"))
        lengths = {len(values) for values in content["accuracy"].values()}
        return content if whole and lengths == {SEVERITIES} else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _check_is_cifar10(config: Config) -> None:
    if config.data.name != "cifar10":
        raise UserError(
            f"data.name: {config.data.name}, with --data: CIFAR-10-C is for models of CIFAR-10: leave --data out, and "
            "the corruptions are made from the config's own pictures",
            key="data.name",
            value=config.data.name,
        )
    if config.data.holdout:
        raise UserError(
            f"data.holdout: {config.data.holdout}, with --data: CIFAR-10-C is of the test set: set data.holdout=0",
            key="data.holdout",
            value=config.data.holdout,
        )


def _published(folder: str | Path, val: data.Split, classes: list[str], chosen: np.ndarray) -> Source:
    found = cifar_c.read(folder, val, classes)
    notes = [f"not counted, as in the paper: {', '.join(found.not_counted)}"] * bool(found.not_counted)
    about = {"source": PUBLISHED, "comparable": True, "seed": None, "libraries": None}
    return Source(list(found.arrays), lambda name, severity: found.images(name, severity, chosen), about, notes)


def _made(clean: np.ndarray, chosen: np.ndarray, seed: int, frost: str | Path | None) -> Source:
    names = [name for name in corruptions.CORRUPTIONS if frost is not None or name != corruptions.FROST]
    libraries = corruptions.made_by()
    by = ", ".join(f"{name} {number}" for name, number in libraries.items())
    notes = [f"the strengths are those of make_cifar_c.py of hendrycks/robustness; the pictures are made by {by}"]
    if frost is None:
        notes.append("without frost, which needs --frost DIR: the means are over 14 corruptions, not 15")
    else:
        distortions.read_frost(str(frost))  # fail before the evaluation

    def images(name: str, severity: int) -> np.ndarray:
        return corruptions.corrupt(clean, name, severity, chosen, seed, None if frost is None else str(frost))

    return Source(names, images, {"source": MADE, "comparable": False, "seed": seed, "libraries": libraries}, notes)


def _accuracy(trained: Trained, split: data.Split) -> float:
    """Return the top-1 accuracy on pictures, prepared as in evaluation."""
    config = trained.config
    loader = data.build_eval_loader(
        split,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        num_workers=0,  # starting workers 75 times would take longer than they save
        pipeline=config.data.pipeline,
    )
    result = evaluate(trained.model, loader, build.build_criterion(config), len(trained.dataset.classes))
    trained.check(result.predictions.probabilities)
    return result.top1


def _check_baseline(file: str, base: dict[str, Any], described: dict[str, Any], names: list[str]) -> None:
    """Refuse a baseline that was measured on other pictures."""
    for key in SAME:
        if base.get(key) != described[key]:
            raise UserError(
                f"--baseline {file}: its {key} is {base.get(key)}, not {described[key]}: measure both weights on the "
                "same pictures, with the same options",
                key="--baseline",
                value=file,
                place=file,
            )
    if list(base["accuracy"]) != names:
        differing = sorted({*base["accuracy"]} ^ {*names})
        raise UserError(
            f"--baseline {file}: only one of the two has {', '.join(differing)}: measure both weights under the same "
            "corruptions",
            key="--baseline",
            value=file,
            place=file,
        )


def _normalized(accuracies: dict[str, list[float]], clean: float, base: dict[str, Any] | None) -> dict | None:
    if base is None:
        return None
    result = robustness.normalized(accuracies, clean, base["accuracy"], base["clean"])
    return {
        "weights": base.get("weights"),
        "weights_sha256": base.get("weights_sha256"),
        "errors": result.errors,
        "mce": result.mean,
        "relative_errors": result.relative,
        "relative_mce": result.relative_mean,
    }


def _write(measured: dict[str, Any], output: str | Path) -> None:
    text = json.dumps(measured, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    title = f"Accuracy under corruptions: {measured['source']}\n{measured['images']} pictures ({measured['split']})"
    png = as_png(heat_map(measured["accuracy"], measured["clean"], title), dpi=DPI)
    with writing_into(output) as folder:
        replace_contents({folder / filenames.ROBUSTNESS: text, folder / filenames.ROBUSTNESS_MAP: png})


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
