"""The temperature of weights: class probabilities are softmax(logits / temperature). A note beside them says it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.shell import command
from engine import filenames
from engine.system import atomic


@dataclass(frozen=True)
class Temperature:
    """A temperature, and a line for the log that says whence it comes: "" if none is noted, which is 1."""

    value: float = 1.0
    about: str = ""


def is_temperature(value: Any) -> bool:
    """Return whether a value read from a file is a temperature: a finite number above 0."""
    return type(value) in (int, float) and math.isfinite(value) and value > 0


def noted_temperature(weights: str | Path, sha256: str) -> Temperature:
    """Return the temperature noted beside a file of weights.

    A note that is damaged, or of other weights than those with this SHA-256, does not count, and the line says so.
    """
    file = note_of(weights)
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
        value, of, images, split = (note[key] for key in ("temperature", "weights_sha256", "images", "split"))
    except FileNotFoundError:
        return Temperature()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return _ignored(weights, f"not readable ({' '.join(repr(error).split())})")
    if not is_temperature(value):
        return _ignored(weights, f"temperature: {value}, expected a number above 0")
    if of != sha256:
        return _ignored(weights, "fitted to other weights")
    return Temperature(float(value), f"temperature: {value:.4f}, fitted on {images} {split} ({file})")


def write_note(weights: str | Path, temperature: float, sha256: str, images: int, split: str, **more: Any) -> Path:
    """Write the note beside a file of weights, and return its path.

    Args:
        sha256: of the weights.
        images, split: on how many pictures of which split the temperature was fitted.
        more: what else the note should say, as JSON.

    Raises:
        OSError: the folder cannot be written.
    """
    content = {
        "temperature": temperature,
        "images": images,
        "split": split,
        **more,
        "weights": Path(weights).name,
        "weights_sha256": sha256,
    }
    file = note_of(weights)
    atomic.replace_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return file


def note_of(weights: str | Path) -> Path:
    """Return the path of the note beside a file of weights."""
    weights = Path(weights)
    return weights.with_name(filenames.temperature(weights.name))


def _ignored(weights: str | Path, why: str) -> Temperature:
    fit = command("python", "eval.py", "--weights", weights, "--calibrate")
    return Temperature(about=f"{note_of(weights)}: {why}, so it is ignored: fit anew by `{fit}`, or remove it")
