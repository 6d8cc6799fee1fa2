"""Why a GPU cannot be used is said in one line. Drivers, GPUs and missing libraries are imitated.

The errors are Paddle's own words, as its 2.6.2 GPU wheel says them on a machine without the libraries.
"""

import ctypes
import os
from types import SimpleNamespace

import paddle
import pytest

from engine.errors import UserError
from engine.system import device, nvidia, processes
from tests.support.errors import refuses

NO_NCCL = """\
(PreconditionNotMet) The third-party dynamic library (libnccl.so) that Paddle depends on is not configured \
correctly. (error code is libnccl.so: cannot open shared object file: No such file or directory)
  Suggestions:
  1. Check if the third-party dynamic library (e.g. CUDA, CUDNN) is installed correctly"""
NO_CUDNN = """

--------------------------------------
C++ Traceback (most recent call last):
--------------------------------------
0   phi::GPUContext::Impl::InitGpuProperties()

----------------------
Error Message Summary:
----------------------
PreconditionNotMetError: Cannot load cudnn shared library. Cannot invoke method cudnnGetVersion.
  [Hint: cudnn_dso_handle should not be null.] (at /paddle/paddle/phi/backends/dynload/cudnn.cc:60)
"""


class Driver:
    """NVIDIA's driver library, as far as it is asked."""

    def __init__(self, status=0, version=12040):
        self.status, self.version = status, version

    def cuInit(self, flags):
        return self.status

    def cuDriverGetVersion(self, version):
        version._obj.value = self.version


@pytest.fixture
def gpu_build(monkeypatch):
    """A Paddle built for CUDA 11.8 on a machine with a driver, but without a GPU; the test says what else is there."""
    machine = SimpleNamespace(driver=Driver(), gpus=0, capability=(8, 6))

    def load(name):
        if machine.driver is None:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return machine.driver

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.version, "cuda", lambda: "11.8")
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: machine.gpus)
    monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda *_: machine.capability)
    monkeypatch.setattr(ctypes, "CDLL", load)
    return machine


@pytest.mark.parametrize(
    ("driver", "visible", "why"),
    [
        (None, None, "no NVIDIA driver"),
        (Driver(status=nvidia.NO_DEVICE), None, "finds none"),
        (Driver(status=nvidia.NO_DEVICE), "7", "CUDA_VISIBLE_DEVICES=7"),
        (Driver(status=803), None, "803"),
        (Driver(version=10020), None, "CUDA up to 10.2"),
        (Driver(version=11040), None, "run_check"),  # of the same major version: old enough
        (Driver(), "", "CUDA_VISIBLE_DEVICES= hides"),
        (Driver(), "-1", "CUDA_VISIBLE_DEVICES=-1 hides"),
        (Driver(), "1", "run_check"),
    ],
)
def test_a_gpu_build_without_a_gpu_says_why_in_one_line(gpu_build, monkeypatch, driver, visible, why):
    gpu_build.driver = driver
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    description = device.describe_device("cpu")
    assert why in description
    assert "\n" not in description
    with refuses(UserError, key="device", value="gpu") as caught:
        device.select_device("gpu")
    assert why in str(caught.value)
    assert "requirements.txt" not in str(caught.value)  # it is installed already


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(gpu_build):
    gpu_build.gpus = 2
    with refuses(UserError, key="device", value="gpu:2") as caught:
        device.select_device("gpu:2")
    assert "gpu:0 to gpu:1" in str(caught.value)


def test_a_cpu_build_is_to_be_replaced_and_says_nothing_of_gpus(monkeypatch):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    with refuses(UserError, key="device", value="gpu") as caught:
        device.select_device("gpu")
    assert "requirements.txt" in str(caught.value)
    assert "built for GPUs" not in device.describe_device("cpu")


@pytest.mark.parametrize(
    ("fails", "words", "said"),
    [
        (("nn.functional", "conv2d"), NO_CUDNN, "Cannot load cudnn shared library"),
        (("", "matmul"), NO_CUDNN.replace("cudnn", "cublas"), "Cannot load cublas shared library"),
        (("distributed", "init_parallel_env"), NO_NCCL, "libnccl.so"),
    ],
)
def test_a_library_that_is_missing_is_named_in_one_line(gpu_build, monkeypatch, fails, words, said):
    gpu_build.gpus = 2
    monkeypatch.setattr(processes, "size", lambda: 2)

    def fail(*_):
        raise RuntimeError(words)

    place = paddle
    for name in filter(None, fails[0].split(".")):
        place = getattr(place, name)
    monkeypatch.setattr(place, fails[1], fail)
    monkeypatch.setattr(paddle, "set_device", lambda _: None)
    with refuses(UserError, key="device", value="gpu:0") as caught:
        device.select_device("gpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("paddles", "cuda", "capability", "refused"),
    [
        ("2.6.2", "11.8", (8, 9), False),
        ("2.6.2", "11.8", (9, 0), True),
        ("2.6.2", "12.0", (9, 0), False),
        ("3.3.1", "11.8", (9, 0), False),
    ],
)
def test_a_gpu_newer_than_the_wheel_is_refused_before_it_ends_the_process(
    gpu_build, monkeypatch, paddles, cuda, capability, refused
):
    gpu_build.gpus, gpu_build.capability = 1, capability
    monkeypatch.setattr(paddle, "__version__", paddles)
    monkeypatch.setattr(paddle.version, "cuda", lambda: cuda)
    monkeypatch.setattr(paddle, "set_device", lambda _: None)
    if not refused:
        assert device.select_device("gpu") == "gpu:0"
        return
    with refuses(UserError, key="device", value="gpu:0") as caught:
        device.select_device("gpu")
    assert "9.0" in str(caught.value)


def test_processes_on_a_cpu_never_join_over_nccl(gpu_build, monkeypatch):
    """Seen on 2.6.2's GPU wheel: two processes with device=cpu, to which the launcher gave GPUs, went for them."""
    gpu_build.gpus = 2
    monkeypatch.setenv("PADDLE_DISTRI_BACKEND", "auto")
    monkeypatch.setattr(processes, "size", lambda: 2)
    backends = []
    monkeypatch.setattr(
        paddle.distributed, "init_parallel_env", lambda: backends.append(os.environ["PADDLE_DISTRI_BACKEND"])
    )
    device.select_device("cpu")
    assert backends == ["gloo"]
