"""The environment of a run: project folder, git commit, versions and device."""

import platform
import subprocess
from pathlib import Path

import numpy as np

from engine.system.device import describe_device

PROJECT = Path(__file__).resolve().parents[2]


def libraries() -> dict[str, str]:
    """Return the versions of what numbers depend on: Pillow decodes pictures and OpenCV changes them, for example."""
    import cv2
    import paddle
    import PIL

    from models import native  # imports paddle

    on_cpu = paddle.get_device() == "cpu"
    return {
        "paddle": paddle.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
        **({"kernels": native.kernels().version} if on_cpu else {}),
    }


def environment(device: str) -> dict:
    """Return the versions, device and git commit of a run, for `environment.json`."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("--no-optional-locks", "status", "--porcelain")  # someone may be committing
    return {
        **libraries(),
        "device": describe_device(device),
        "git_commit": commit,
        "git_uncommitted_changes": bool(changes) if commit else None,
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PROJECT, capture_output=True, encoding="utf-8", errors="replace", check=True
        )
        return done.stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
