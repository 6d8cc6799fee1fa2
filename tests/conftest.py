"""What all tests share: the CPU, with the settings that the scripts give it."""

import os
import signal

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

from engine.system import device  # before paddle is imported anywhere

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a script starts in the background


@pytest.fixture(autouse=True)
def on_the_cpu():
    """The golden numbers are a CPU's, and a test that picks another device must not leave it to the next one."""
    device.select_device("cpu")


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    """How long the speed of a model is measured decides no test."""
    monkeypatch.setattr("engine.evaluation.saved.SECONDS", 0.1)


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without a GPU, whatever this one has."""
    import paddle

    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)


@pytest.fixture(scope="module")
def nano():
    """Micro is a smaller model, for a module of runs in the test's own process."""
    from models import VARIANTS
    from tests.support.runs import NANO

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "regionvit_micro_32", NANO)
        yield
