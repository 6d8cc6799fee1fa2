"""Versions, driver and libraries: what Paddle was built for, and what it finds here."""

import ctypes
import os
import shutil
import subprocess

from engine.check.check import Context, Result

DRIVER = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
QUERY = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def check(context: Context) -> Result:
    """Count the libraries that are missing."""
    import paddle

    build = f"Paddle {paddle.__version__}"
    if not paddle.is_compiled_with_cuda():
        return Result(0, f"{build}, a CPU build")
    build += f", CUDA {paddle.version.cuda()}, cuDNN {paddle.version.cudnn()}"
    missing = [] if _loads(DRIVER) else [DRIVER]
    note = f"missing: {', '.join(missing)}" if missing else driver()
    return Result(len(missing), build, note, {"missing": missing})


def driver() -> str:
    """Return what NVIDIA's own tool says about GPUs and driver."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return "no nvidia-smi, so the driver's version is not known"
    done = subprocess.run([tool, *QUERY], capture_output=True, text=True, timeout=30)
    return "; ".join(done.stdout.split("\n")).strip("; ") or done.stderr.strip()


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
