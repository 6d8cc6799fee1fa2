"""Settings that make Paddle fast on a CPU: environment variables, threads, and malloc."""

import ctypes
import logging
import os
import platform
import subprocess
import sys

from common.machine import cpu_info

MALLOC = ((-4, 0), (-1, 2**31 - 1), (-2, 512 << 20))  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD of mallopt

_user_set_threads = False
_paddle_came_first = False
_user_environ: dict[str, str] = {}


def before_paddle() -> None:
    """Set the environment variables that Paddle reads on import, unless the user has set them."""
    global _user_set_threads, _user_environ, _paddle_came_first
    _user_environ, _paddle_came_first = dict(os.environ), "paddle" in sys.modules
    threads = os.environ.get("OMP_NUM_THREADS")
    # Asked here because Paddle sets it to 1 on import; where it was imported before, as in a notebook, 1 is Paddle's.
    _user_set_threads = threads is not None and not (_paddle_came_first and threads == "1")
    if _is_amd():
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")  # otherwise MKL in the wheel takes a slow path on AMD


def too_late() -> str | None:
    """Return a line if Paddle was imported before this project, and is slower for it."""
    if not _paddle_came_first or not _is_amd() or "MKL_DEBUG_CPU_TYPE" in _user_environ:
        return None
    return (
        "Paddle was imported before this project: on this AMD CPU it is slow until you restart and import the project "
        "first"
    )


def _is_amd() -> bool:
    return "AuthenticAMD" in cpu_info() or "AuthenticAMD" in os.environ.get("PROCESSOR_IDENTIFIER", "")


def silence_fonts() -> None:
    """Silence what matplotlib says on import, in its first start on a machine, while it lists the fonts."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    logging.getLogger("matplotlib.font_manager").addFilter(lambda record: "font cache" not in record.getMessage())


def user_environ() -> dict[str, str]:
    """Return the environment variables as they were before this project and Paddle changed them."""
    return dict(_user_environ)


def tune_cpu() -> None:
    """Apply all CPU settings; call this once the CPU is Paddle's device."""
    import paddle

    set_cpu_threads()
    keep_freed_memory()
    paddle.set_flags({"FLAGS_use_stride_kernel": False})  # strided views make later copies slow on a CPU


def set_cpu_threads() -> None:
    """Let Paddle use this process's share of the cores, or OMP_NUM_THREADS if the user has set it."""
    from common import paddle_private  # imports paddle

    if not _user_set_threads:
        paddle_private.set_cpu_threads(cpu_threads())


def keep_freed_memory() -> None:
    """Make malloc keep freed memory: new pages for every large tensor cost more than computing it."""
    try:
        libc = ctypes.CDLL(None)
        for option, value in MALLOC:
            libc.mallopt(option, value)
    except (OSError, AttributeError, TypeError):
        pass  # not glibc: only speed is lost


def cpu_threads() -> int:
    """Return the number of threads that this process should use."""
    if _user_set_threads and os.environ["OMP_NUM_THREADS"].isdigit():
        return int(os.environ["OMP_NUM_THREADS"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(
        1, cores // int(os.environ.get("PADDLE_LOCAL_SIZE", "1"))
    )  # processes on this machine, set by the launcher


def cpu_name() -> str:
    """Return the name of the CPU, or only its architecture."""
    for line in cpu_info().splitlines():
        if "model name" in line:
            return line.split(":", 1)[1].strip()
    if name := os.environ.get("PROCESSOR_IDENTIFIER"):  # Windows
        return name
    try:  # macOS
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, check=True, encoding="utf-8").stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return platform.machine()
