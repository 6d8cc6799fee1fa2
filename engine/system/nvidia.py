"""What keeps a Paddle built for GPUs from using one: the driver, the CUDA libraries, or the GPU itself."""

import ctypes
import os
import sys

import paddle

from common.shell import command
from engine.errors import UserError, in_short
from engine.system import processes

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
# Paddle 2.6.2 for CUDA 11.8, the newest on PyPI, has code for compute capability 6.1 to 8.6, and ends the process on
# others without an exception (PaddlePaddle/Paddle issue 70902).
AFTER_PADDLE_2 = (9, 0)
LIBRARIES = "README (Install) says which CUDA libraries have to be there"


def why_no_gpu() -> str:
    """Return why a Paddle built for GPUs finds none, as far as the driver tells."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible} hides all"
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return (
            f"there is no NVIDIA driver ({DRIVER} cannot be loaded; nvidia-smi would not run either): install one, or "
            "give the container its GPUs (docker run --gpus all)"
        )
    status = driver.cuInit(0)
    if status == NO_DEVICE:
        return "the NVIDIA driver finds none" + (f" with CUDA_VISIBLE_DEVICES={visible}" if visible else "")
    if status:
        return f"the NVIDIA driver does not start (cuInit: CUDA error {status}): see nvidia-smi, or restart the machine"
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    newest, needed = f"{version.value // 1000}.{version.value % 1000 // 10}", paddle.version.cuda()
    if version.value // 1000 < int(needed.partition(".")[0]):  # within a major version, older drivers do
        return f"the NVIDIA driver is for CUDA up to {newest}, and this Paddle needs CUDA {needed}: update the driver"
    more = command("python", "-c", "import paddle; paddle.utils.run_check()")
    return f"the NVIDIA driver (for CUDA up to {newest}) starts, so the cause lies elsewhere: {more} says more"


def check_gpu(device: str) -> None:
    """Run a product and a convolution on the current GPU, for which Paddle loads its libraries.

    Raises:
        UserError: a CUDA library is missing, or this Paddle cannot compute on this GPU.
    """
    capability = paddle.device.cuda.get_device_capability(int(device.partition(":")[2]))
    if paddle.__version__.startswith("2.") and paddle.version.cuda() < "12" and capability >= AFTER_PADDLE_2:
        raise _refusal(
            device,
            f"it has no code for compute capability {capability[0]}.{capability[1]}",
            "install Paddle 3 (requirements.txt)",
        )
    try:
        paddle.matmul(paddle.ones([8, 8]), paddle.ones([8, 8])).numpy()
        paddle.nn.functional.conv2d(paddle.ones([1, 1, 8, 8]), paddle.ones([1, 1, 3, 3])).numpy()
    except (RuntimeError, OSError) as error:
        raise _refusal(device, in_short(error), LIBRARIES) from error


def join(device: str) -> None:
    """Join the other processes of the run, for which Paddle loads NCCL.

    Raises:
        UserError: NCCL is missing, or its processes cannot join.
    """
    try:
        processes.join()
    except (RuntimeError, OSError) as error:
        raise _refusal(device, f"the processes cannot join: {in_short(error)}", LIBRARIES) from error


def _refusal(device: str, why: str, cure: str) -> UserError:
    return UserError(
        f"device: {device}, but Paddle {paddle.__version__} cannot use it: {why}; {cure}, or use device=cpu",
        key="device",
        value=device,
    )
