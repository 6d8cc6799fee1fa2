"""Builds the C files beside it with this machine's compiler: once for each compiler, CPU and version of the files."""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import paddle

from common.machine import cpu_info

SOURCES = sorted(Path(__file__).parent.glob("*.c"))
SWITCH = "REGIONVIT_KERNELS"  # environment variable: `paddle` builds and loads nothing
PADDLES = "Paddle's"  # the version where they are not used
# Not -ffast-math, which would lose NaN, and would let the order of adding differ from one compiler to the next.
FLAGS = ("-O3", "-march=native", "-funroll-loops", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")
PATIENCE = 120  # seconds for the compiler


class NotBuilt(Exception):
    """The kernels cannot be used; the message says why."""


@dataclass(frozen=True)
class Kernels:
    """The library, or None where it cannot be used.

    version: of the library: equal versions compute the same bits; `PADDLES` without it.
    note: part of a line for users: which kernels run, and why.
    """

    library: ctypes.CDLL | None
    version: str
    note: str


@functools.cache
def kernels() -> Kernels:
    """Return the kernels, which the first call builds if necessary."""
    try:
        compiler = _compiler()
        version = _version(compiler)
        return Kernels(_library(compiler, version), version, f"kernels built by {Path(compiler[0]).name}")
    except NotBuilt as error:
        return Kernels(None, PADDLES, f"{PADDLES} kernels: {error}")


def _library(compiler: list[str], version: str) -> ctypes.CDLL:
    file = _folder() / f"kernels-{version}.so"
    try:
        return _load(file)
    except NotBuilt:  # not yet, or damaged
        _build(compiler, file)
        return _load(file)


def _compiler() -> list[str]:
    """Return the compiler's command: $CC, which may have arguments, or cc."""
    if os.environ.get(SWITCH, "").lower() == "paddle":
        raise NotBuilt(f"{SWITCH}=paddle")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NotBuilt("this project's own are for Linux on x86-64")
    try:
        command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    except ValueError as error:
        raise NotBuilt(f"CC={os.environ['CC']} is no command ({error})") from error
    if not shutil.which(command[0]):
        raise NotBuilt(f"no C compiler {command[0]} here")
    return command


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "regionvit"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
        return cache
    except (OSError, RuntimeError) as error:
        raise NotBuilt(f"{cache} cannot be written ({error})") from error


def _version(compiler: list[str]) -> str:
    """Return a name for what this compiler makes of this source for this CPU."""
    version = _run([*compiler, "--version"])
    flags = next((line for line in cpu_info().splitlines() if line.startswith("flags")), "")
    parts = [*compiler[1:], *(source.read_text(encoding="utf-8") for source in SOURCES), version, flags, *FLAGS]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _build(compiler: list[str], file: Path) -> None:
    """Write the library at once, so that several processes may build it at the same time."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        linked, compiled = Path(folder) / file.name, [str(Path(folder) / f"{source.stem}.o") for source in SOURCES]
        for source, result in zip(SOURCES, compiled, strict=True):
            _run([*compiler, *FLAGS, "-c", str(source), "-o", result])
        # Without -fopenmp the linker takes no OpenMP of its own: two of them would wait for each other's threads.
        _run([*compiler, "-shared", *compiled, "-o", str(linked), "-lm"])
        os.replace(linked, file)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"{command[0]} failed ({error})") from error
    if done.returncode:
        first = next(iter(done.stderr.splitlines()), f"status {done.returncode}")
        raise NotBuilt(f"{command[0]} failed ({first})")
    return done.stdout


def _load(file: Path) -> ctypes.CDLL:
    """Load the library, which finds OpenMP in Paddle's own, with its threads."""
    openmp = Path(paddle.__file__).parent / "libs" / "libiomp5.so"
    try:
        ctypes.CDLL(str(openmp), mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise NotBuilt(str(error)) from error
