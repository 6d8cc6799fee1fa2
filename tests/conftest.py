"""What all tests share: their device (tests/support/device.py), with the settings that the scripts give it."""

import os
import signal

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
# One thread for each worker of pytest where they take all cores: with more threads than cores a small model takes twice
# as long. Never another number: Paddle would warn about it in every process that a test starts.
if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) >= (os.cpu_count() or 1):
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from common.errors import InputError
from engine.system import device  # before paddle is imported anywhere
from tests.support.device import DEVICE, ON_A_CPU, refuse_unusable

if not ON_A_CPU:
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # NVIDIA's libraries read it when they start; TF32 has three digits
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a script starts in the background


def pytest_configure():
    """A device that cannot be used ends everything with one line."""
    try:
        refuse_unusable(DEVICE)
    except InputError as error:
        pytest.exit(str(error), returncode=2)


def pytest_collection_modifyitems(items):
    if not ON_A_CPU:
        for item in items:
            if item.get_closest_marker("cpu"):
                item.add_marker(pytest.mark.skip(reason="about a CPU"))


@pytest.fixture(autouse=True)
def on_the_device():
    """A test that picks another device must not leave it to the next one."""
    device.select_device(DEVICE)


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    """No test depends on how long a model's speed is measured."""
    monkeypatch.setattr("engine.evaluation.saved.SECONDS", 0.1)


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without a GPU, whatever this one has."""
    import paddle

    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)


@pytest.fixture(scope="module")
def nano():
    """A smaller model in the place of Micro, for a module of runs in the test's own process."""
    from models import VARIANTS
    from tests.support.runs import NANO

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "regionvit_micro_conv_32", NANO)
        yield


@pytest.fixture(scope="module")
def no_figures():
    """Blank figures, for a module of runs at whose figures nobody looks; see `blank_figures`."""
    from tests.support.drawing import blank_figures

    with blank_figures():
        yield
