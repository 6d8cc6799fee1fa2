"""The device that a run computes on: selection, description, peak memory, determinism."""

import math
import os
import shutil

from common.words import counted
from engine.errors import UserError
from engine.system.tuning import cpu_name, cpu_threads, tune_cpu


def select_device(wanted: str) -> str:
    """Set Paddle's device to `wanted` (auto, gpu, gpu:N or cpu) and return its name: "cpu" or "gpu:N".

    One of several processes joins the others.

    Raises:
        UserError: Paddle cannot use the requested GPU.
    """
    import paddle

    from engine.system import nvidia, processes  # they import paddle

    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if wanted == "auto":
        wanted = "gpu" if count else "cpu"
    if wanted == "cpu":
        paddle.set_device("cpu")
        tune_cpu()
        # A Paddle built for GPUs would take NCCL and a GPU, whatever the device (`init_parallel_env`, 2.6.2 and 3.3.1).
        if processes.size() > 1:
            os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
        processes.join()
        return "cpu"
    if wanted != "gpu" and processes.size() > 1:
        raise UserError(
            f"device: {wanted}, but several processes cannot share a GPU: use device=gpu and list the GPUs in --gpus",
            key="device",
            value=wanted,
        )
    index = int(wanted.partition(":")[2]) if wanted != "gpu" else processes.local_gpu()
    if index >= count:
        raise UserError(
            f"device: {wanted}, but Paddle {paddle.__version__} cannot use it: {_why_not(count)}; "
            "or use device=cpu or device=auto",
            key="device",
            value=wanted,
        )
    paddle.set_device(f"gpu:{index}")
    nvidia.check_gpu(f"gpu:{index}")
    nvidia.join(f"gpu:{index}")
    return f"gpu:{index}"


def describe_device(device: str) -> str:
    """Return a readable name of what computes on `device`: "cpu (AMD EPYC, 2 threads, kernels built by gcc)"."""
    import paddle

    from engine.system import nvidia  # imports paddle
    from models import native

    if device == "cpu":
        description = f"cpu ({cpu_name()}, {counted(cpu_threads(), 'thread')}, {native.kernels().note})"
        if shutil.which("nvidia-smi") and not paddle.is_compiled_with_cuda():
            description += "; this machine has an NVIDIA driver, but this Paddle is a CPU build"
        if paddle.is_compiled_with_cuda() and not paddle.device.cuda.device_count():
            description += f"; this Paddle is built for GPUs, but finds none: {nvidia.why_no_gpu()}"
        return description
    return f"{device} ({paddle.device.cuda.get_device_name(int(device.partition(':')[2]))})"


def _why_not(count: int) -> str:
    """Return why Paddle cannot use a GPU of which it finds fewer, and what to do."""
    import paddle

    from engine.system import nvidia  # imports paddle

    if not paddle.is_compiled_with_cuda():
        return "it is a CPU build: install requirements.txt on a machine with an NVIDIA GPU"
    if not count:
        return f"it finds no GPU: {nvidia.why_no_gpu()}"
    return f"it finds {counted(count, 'GPU')}: use gpu:0" + (f" to gpu:{count - 1}" if count > 1 else "")


def gpu_memory() -> float:
    """Return the peak memory of Paddle's tensors on the current GPU so far, in MB; NaN on a CPU."""
    import paddle

    if not paddle.is_compiled_with_cuda() or paddle.get_device() == "cpu":
        return math.nan
    return paddle.device.cuda.max_memory_allocated() / 2**20


def make_deterministic() -> None:
    """Make Paddle use GPU operators that give the same bits every time; CPU operators always do."""
    import paddle

    if paddle.is_compiled_with_cuda():
        paddle.set_flags({"FLAGS_cudnn_deterministic": True, "FLAGS_embedding_deterministic": 1})
