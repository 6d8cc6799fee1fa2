"""Versions and driver: what Paddle was built for, and what it finds here."""

import shutil
import subprocess

import paddle

from engine.check.check import Context, Result
from engine.system import nvidia

QUERY = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def check(context: Context) -> Result:
    """Return 1 if this Paddle was built for GPUs and finds none, else 0.

    A CUDA library that is missing is found before, when the device is selected.
    """
    build = f"Paddle {paddle.__version__}"
    if not paddle.is_compiled_with_cuda():
        return Result(0, f"{build}, a CPU build")
    build += f", CUDA {paddle.version.cuda()}, cuDNN {paddle.version.cudnn()}"
    return Result(0, build, driver()) if context.gpus else Result(1, build, nvidia.why_no_gpu())


def driver() -> str:
    """Return what NVIDIA's own tool says about GPUs and driver."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return "no nvidia-smi, so the driver's version is not known"
    done = subprocess.run([tool, *QUERY], capture_output=True, encoding="utf-8", errors="replace", timeout=30)
    return "; ".join((done.stdout.strip() or done.stderr.strip()).splitlines())
