"""TF32 is switched in one place. A GPU is imitated: its switches, its flags and its compute capability."""

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from common import paddle_private
from engine.config.options import AmpConfig
from engine.system import tf32

OWN = {"2.6.2": (True, True), "3.3.1": (False, True)}  # products, convolutions


@pytest.fixture(params=OWN)
def paddles_own(request, monkeypatch):
    """Switches with the defaults of a GPU build of each version, and on 3.3 the flags beside them."""
    products, convolutions = OWN[request.param]
    state = {"products": products, "convolutions": convolutions}
    known = {} if request.param == "2.6.2" else {"cublas_allow_tf32": products, "cudnn_allow_tf32": convolutions}
    monkeypatch.setattr(paddle_private, "tf32", lambda: dict(state))
    monkeypatch.setattr(paddle_private, "allow_tf32", lambda *wanted: state.update(zip(state, wanted, strict=True)))
    monkeypatch.setattr(tf32, "values", lambda *names: {name: known[name] for name in names if name in known})
    monkeypatch.setattr(tf32, "set_known", known.update)
    tf32._paddles_own.cache_clear()
    yield SimpleNamespace(own=(products, convolutions), state=state, flags=known)
    tf32._paddles_own.cache_clear()


def everywhere(machine):
    """What the switches say; the flags say the same, where there are any."""
    assert list(machine.flags.values()) in ([], list(machine.state.values()))
    return tuple(machine.state.values())


def test_unless_told_otherwise_paddle_does_as_it_does(paddles_own):
    tf32.allow(AmpConfig().allow_tf32)
    assert everywhere(paddles_own) == paddles_own.own


def test_tf32_is_allowed_for_both_or_for_neither_and_paddles_own_comes_back(paddles_own):
    tf32.allow("always")
    assert everywhere(paddles_own) == (True, True)
    tf32.allow("never")
    assert everywhere(paddles_own) == (False, False)
    tf32.allow("default")
    assert everywhere(paddles_own) == paddles_own.own


def test_without_tf32_for_a_while_and_then_as_before(paddles_own):
    tf32.allow("always")
    with tf32.never():
        assert everywhere(paddles_own) == (False, False)
    assert everywhere(paddles_own) == (True, True)


def test_what_is_first_called_for_a_comparison_does_not_become_paddles_own(paddles_own):
    with tf32.never():
        tf32.allow("default")
        assert everywhere(paddles_own) == paddles_own.own


@pytest.mark.parametrize(
    ("wanted", "capability", "override", "said"),
    [
        ("always", (8, 0), None, "products and convolutions"),
        ("never", (8, 6), None, "nothing"),
        ("always", (9, 0), "0", "nothing (NVIDIA_TF32_OVERRIDE=0)"),
        ("always", (7, 5), None, ""),
    ],
)
def test_the_log_says_what_a_gpu_computes_in_tf32(paddles_own, monkeypatch, wanted, capability, override, said):
    monkeypatch.setattr(paddle.device.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    tf32.allow(wanted)
    assert tf32.describe("gpu:0") == said


def test_a_cpu_computes_nothing_in_tf32_and_the_log_says_nothing_about_it():
    x = paddle.rand([64, 64])
    results = []
    for wanted in tf32.CHOICES:
        tf32.allow(wanted)
        results.append((x @ x).numpy())
    tf32.allow("default")
    assert all(np.array_equal(result, results[0]) for result in results)
    assert tf32.describe("cpu") == ""
