"""Installing what a notebook's Python lacks. It imports only what is there before: Python's own modules."""

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from engine.errors import UserError

PROJECT = Path(__file__).resolve().parents[2]
COMMON = "requirements/common.txt"
PADDLES = ("paddlepaddle", "paddlepaddle-gpu")
OLDEST = "2.6.2"
NIGHTLY = "0.0.0"  # the version of Paddle's builds between releases
ALIKE = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python")}  # the same modules, and a window system
MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}


def install_missing() -> None:
    """Install what this Python lacks to run the project; a Paddle that is there stays as it is.

    Raises:
        UserError: the Paddle that is there is too old, or pip failed.
    """
    paddle = installed(PADDLES)
    wanted = packages(paddle)
    if not wanted:
        print(f"Paddle {paddle} and all else is here: nothing to install.")
        return
    print("Installing:", *wanted)
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], cwd=PROJECT)
    if done.returncode:
        raise UserError(
            f"pip could not install {' '.join(wanted)}: its lines above say why", key="pip", value=done.returncode
        )
    if stale := loaded(wanted):
        print(f"Restart the kernel and begin again at the top: it still runs the old {', '.join(stale)}.")


def packages(paddle: str | None) -> list[str]:
    """Return what pip has to install beside a Paddle of that version, or with a Paddle if there is none.

    Raises:
        UserError: that Paddle is too old.
    """
    if paddle is None:
        return ["-r", "requirements.txt" if shutil.which("nvidia-smi") else "requirements/cpu.txt"]
    if paddle != NIGHTLY and _numbers(paddle) < _numbers(OLDEST):
        raise UserError(
            f"Paddle {paddle} is installed, and this project needs {OLDEST} or newer: uninstall it, restart the "
            "kernel, and run this cell again",
            key="paddlepaddle",
            value=paddle,
        )
    lines = (PROJECT / COMMON).read_text(encoding="utf-8").splitlines()
    wanted = [line.partition("#")[0].strip() for line in lines]
    return unmet([*filter(None, wanted), *["numpy<2"] * paddle.startswith("2.")])


def unmet(requirements: Iterable[str]) -> list[str]:
    """Return those of some requirements that what is installed does not meet."""
    from packaging.requirements import Requirement  # which Jupyter brings

    found = []
    for line in requirements:
        requirement = Requirement(line)
        version = installed((requirement.name, *ALIKE.get(requirement.name, ())))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found.append(line)
    return found


def installed(names: Iterable[str]) -> str | None:
    """Return the version of the first of some packages that is installed, None if none is."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return None


def loaded(requirements: Iterable[str]) -> list[str]:
    """Return the names of those required packages that this process has imported already."""
    from packaging.requirements import InvalidRequirement, Requirement

    names = []
    for line in requirements:
        try:
            names.append(Requirement(line).name)
        except InvalidRequirement:  # an option of pip, or a file
            pass
    return [name for name in names if MODULES.get(name, name) in sys.modules]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
