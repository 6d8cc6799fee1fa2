"""The machine: CPU settings, the choice of device, seeds, and what a run was made on."""

import ctypes
import math
import os
import platform
import random
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np

from .errors import UserError

_threads_chosen = False
PROJECT = Path(__file__).resolve().parents[1]


def before_paddle():
    """Set what has to be in place before `import paddle`; a setting of the user's own stays."""
    global _threads_chosen
    _threads_chosen = "OMP_NUM_THREADS" in os.environ  # Paddle itself puts 1 there when it is imported
    warnings.filterwarnings("ignore", message="No ccache found")
    if "AuthenticAMD" in _cpu_info():
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")  # or the wheel's MKL takes a slow path on AMD


def select_device(wanted):
    """Make `wanted` (auto, gpu, gpu:N or cpu) Paddle's device and return its name: "cpu" or "gpu:N".

    Raises:
        UserError: a GPU is asked for and this Paddle has none to offer.
    """
    import paddle

    from . import parallel  # imports paddle

    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if wanted == "auto":
        wanted = "gpu" if count else "cpu"
    if wanted == "cpu":
        paddle.set_device("cpu")
        _tune_cpu()
        return "cpu"
    if wanted != "gpu" and parallel.size() > 1:
        raise UserError(
            f"device: {wanted}, but several processes cannot share a GPU: use device=gpu; --gpus names them"
        )
    index = int(wanted.partition(":")[2]) if wanted != "gpu" else parallel.local_gpu()
    if index >= count:
        why = f"it sees {count} GPU(s)" if paddle.is_compiled_with_cuda() else "it is a build for the CPU"
        raise UserError(
            f"device: {wanted}, but Paddle {paddle.__version__} cannot use it: {why}; "
            "use device=cpu or device=auto, or install requirements.txt on a machine with an NVIDIA GPU"
        )
    paddle.set_device(f"gpu:{index}")
    return f"gpu:{index}"


def describe_device(device):
    """Name the hardware behind `device` for people: "cpu (AMD EPYC, 2 threads)"."""
    import paddle

    if device == "cpu":
        name = next((line.split(":", 1)[1].strip() for line in _cpu_info().splitlines() if "model name" in line), None)
        description = f"cpu ({name or platform.machine()}, {cpu_threads()} threads)"
        if shutil.which("nvidia-smi") and not paddle.is_compiled_with_cuda():
            description += "; this machine has an NVIDIA driver, but this Paddle is a build for the CPU"
        return description
    return f"{device} ({paddle.device.cuda.get_device_name(int(device.partition(':')[2]))})"


def gpu_memory():
    """Return the most memory that Paddle's tensors have taken on the current GPU so far, in MB; NaN on a CPU."""
    import paddle

    if not paddle.is_compiled_with_cuda() or paddle.get_device() == "cpu":
        return math.nan
    return paddle.device.cuda.max_memory_allocated() / 2**20


def make_deterministic():
    """Have Paddle choose operators that give the same bits each time, where its build can run on a GPU at all."""
    import paddle

    if paddle.is_compiled_with_cuda():
        paddle.set_flags({"FLAGS_cudnn_deterministic": True, "FLAGS_embedding_deterministic": 1})


def seed_everything(seed):
    """Seed Python's, numpy's and Paddle's generators, as the notebook does."""
    import paddle

    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)


def seed_step(seed, step, rank):
    """Make what a training step draws (dropout, stochastic depth) a function of the seed, the step and the process.

    Only Paddle's generators are seeded, whose state Paddle 2.6 cannot write down; Python's and numpy's belong to the
    threads that augment.
    """
    import paddle

    paddle.seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))


def environment(device):
    """Return what a run was made on: versions, device and the project's git commit, for `environment.json`."""
    import paddle

    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "paddle": paddle.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": describe_device(device),
        "git_commit": commit,
        "git_uncommitted_changes": bool(changes) if commit else None,
    }


def set_cpu_threads():
    """Let Paddle use this process's share of the cores it may run on, or OMP_NUM_THREADS where the user has set it."""
    import paddle

    if not _threads_chosen:
        # Through this call and not the variable, about which Paddle warns on stderr.
        paddle.base.core.set_num_threads(cpu_threads())


def keep_freed_memory():
    """Have malloc keep what is freed: fresh pages for every large tensor cost more than the sums done in them."""
    try:
        libc = ctypes.CDLL(None)
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 512 << 20)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            libc.mallopt(option, value)
    except (OSError, AttributeError, TypeError):
        pass  # not glibc: slower, nothing else


def _tune_cpu():
    import paddle

    set_cpu_threads()
    keep_freed_memory()
    paddle.set_flags({"FLAGS_use_stride_kernel": False})  # strided views make later copies slow on a CPU


def cpu_threads():
    if _threads_chosen and os.environ["OMP_NUM_THREADS"].isdigit():
        return int(os.environ["OMP_NUM_THREADS"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("PADDLE_LOCAL_SIZE", "1")))  # the launcher's: processes on this machine


def _cpu_info():
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _git(*arguments):
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
        return done.stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
