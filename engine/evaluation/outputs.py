"""A model's outputs for each picture, stored beside `eval.json`, so that runs can be compared picture by picture."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from engine.errors import UserError
from engine.metrics.quality import Predictions

KINDS = {"logits": np.float32, "labels": np.int64}


def as_npz(predictions: Predictions) -> bytes:
    """Return logits (float32 [N, classes]) and labels (int64 [N]) as a `.npz` file, always the same bytes for them."""
    buffer = io.BytesIO()
    np.savez(buffer, logits=np.asarray(predictions.logits, np.float32), labels=predictions.labels)
    return buffer.getvalue()


def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file that `as_npz` made -> logits float32 [N, classes], labels int64 [N].

    Raises:
        FileNotFoundError: there is no such file; UserError: it is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            logits, labels = (arrays[name] for name in KINDS)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(file, repr(error)) from error
    if (
        (logits.dtype, labels.dtype) != tuple(KINDS.values())
        or (logits.ndim, labels.ndim) != (2, 1)
        or len(logits) != len(labels)
    ):
        raise damaged(file, f"logits {logits.dtype} {logits.shape}, labels {labels.dtype} {labels.shape}")
    return logits, labels


def damaged(file: Path, problem: str) -> UserError:
    """Return the error about a file that is not what an evaluation wrote."""
    return UserError(
        f"{file}: damaged, or not of this evaluation ({problem}): write it again with eval.py",
        key=file.name,
        place=file,
    )
