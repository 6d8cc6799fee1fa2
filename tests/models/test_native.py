"""The kernels in C equal Paddle's operators, in float64 where Paddle's own have float32's errors too."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from models import cpu, lean, native
from models.attention import Attention
from tests.support.kernels import need_kernels

pytestmark = pytest.mark.cpu
ROOT = Path(__file__).parents[2]
# sequences, positions, heads, channels of a head, queries, windows with masks (0: no mask), bias
SEQUENCES = {
    "LSA, windows of 7": (6, 50, 2, 32, 50, 0, True),
    "LSA, windows of 14": (2, 197, 3, 32, 197, 0, True),
    "LSA, windows of 4": (5, 17, 6, 32, 17, 0, True),
    "LSA of the last encoder": (4, 50, 4, 32, 1, 0, True),
    "LSA with padding": (8, 50, 2, 32, 50, 4, True),
    "RSA": (2, 64, 2, 32, 64, 0, False),
    "RSA of one region": (3, 1, 2, 32, 1, 0, False),
    "heads of 48 channels": (2, 18, 1, 48, 18, 0, True),
    "few queries of many": (2, 33, 1, 16, 6, 0, True),
}


@pytest.fixture(autouse=True)
def built():
    need_kernels()


def normal(seed, *shape):
    return np.random.RandomState(seed).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("name", SEQUENCES)
def test_attention_and_its_gradients_equal_paddles(name):
    S, N, heads, D, queries, windows, has_bias = SEQUENCES[name]
    module = Attention(heads * D, heads, ws=2)
    mask = paddle.to_tensor(np.random.RandomState(5).rand(windows, N, N) > 0.3) if windows else None
    if windows:
        mask[0, 0] = False  # a query that may attend to nothing
    results = []
    for function in (
        lambda qkv, bias: cpu.attend(qkv, bias, mask, heads, module.scale, queries),
        lambda qkv, bias: module._attend(qkv, bias, None if mask is None else mask, queries),
    ):
        qkv = paddle.to_tensor(2 * normal(1, S, N, 3 * heads * D), stop_gradient=False)
        bias = paddle.to_tensor(normal(2, heads * N * N), stop_gradient=False) if has_bias else None
        y = function(qkv, bias)
        y.backward(paddle.to_tensor(normal(3, *y.shape)))
        results.append([y.numpy(), qkv.grad.numpy(), *([bias.grad.numpy()] if has_bias else [])])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))


def test_attention_survives_logits_that_overflow_an_exponential_and_hands_on_nan():
    qkv = 40 * normal(4, 2, 5, 96)
    assert np.isfinite(cpu.attend(paddle.to_tensor(qkv), None, None, 1, 1.0, 5).numpy()).all()
    qkv[0, 0, 0] = np.nan
    y = cpu.attend(paddle.to_tensor(qkv), None, None, 1, 1.0, 5).numpy()
    assert np.isnan(y[0, 0]).all()
    assert np.isfinite(y[1]).all()


def test_gelu_and_its_gradient_are_exact_to_float32():
    x = np.concatenate([np.linspace(-15, 15, 3001), [-100, -1e30, 1e30, 0.0]]).astype("float32")
    share = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x.astype("float64")])
    with np.errstate(under="ignore", over="ignore"):
        density = np.exp(-(x.astype("float64") ** 2) / 2) / math.sqrt(2 * math.pi)
    tensor = paddle.to_tensor(x, stop_gradient=False)
    y = cpu.gelu(tensor)
    y.sum().backward()
    np.testing.assert_allclose(y.numpy(), x * share, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(tensor.grad.numpy(), share + x * density, rtol=1e-6, atol=3e-7)


def layer_norm_of_pixels(x):
    return native.layer_norm_2d(x.reshape([2, 4, 1, 1]), *(paddle.ones([1, 4, 1, 1]),) * 2, 1e-6).reshape([2, 4])


@pytest.mark.parametrize(
    "kernel", [native.gelu, lambda x: native.layer_norm(x, *(paddle.ones([4]),) * 2, 1e-6), layer_norm_of_pixels]
)
def test_nan_is_handed_on(kernel):
    y = kernel(paddle.to_tensor([[1.0, 2.0, 3.0, 4.0], [1.0, math.nan, 3.0, 4.0]])).numpy()
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1, 1])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_hands_nan_on_to_the_neighbours_alone(stride):
    x = paddle.to_tensor(normal(6, 1, 2, 6, 9))
    x[0, 1, 2, 3] = math.nan
    y = cpu.depthwise_conv2d(x, paddle.ones([4, 1, 3, 3]), None, stride)
    rows, columns = (np.arange(side)[::stride] for side in (6, 9))
    neighbours = (abs(rows[:, None] - 2) <= 1) & (abs(columns - 3) <= 1)
    np.testing.assert_array_equal(np.isnan(y.numpy()[0, 2:]), [neighbours] * 2)
    assert np.isfinite(y.numpy()[0, :2]).all()


SECOND = {
    "gelu": (cpu.gelu, (2, 4)),
    "linear of gelu": (lambda x: lean.linear_of_gelu(x, paddle.ones([4, 3]), paddle.ones([3])), (2, 4)),
    "layer norm": (lambda x: cpu.layer_norm(x, *(paddle.ones([4]),) * 2, 1e-6), (2, 4)),
    "layer norm of maps": (lambda x: cpu.layer_norm_2d(x, *(paddle.ones([1, 4, 1, 1]),) * 2, 1e-6), (2, 4, 1, 1)),
    "attention": (lambda x: cpu.attend(x, None, None, 1, 1.0, 5), (2, 5, 96)),
    "depth-wise convolution": (lambda x: cpu.depthwise_conv2d(x, paddle.ones([4, 1, 3, 3]), None, 1), (2, 4, 3, 3)),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_are_refused_instead_of_taken_for_zero(name):
    function, shape = SECOND[name]
    x = paddle.to_tensor(normal(7, *shape), stop_gradient=False)
    with pytest.raises((OSError, RuntimeError), match="no second derivative"):  # Paddle wraps it
        paddle.grad(function(x).square().sum(), x, create_graph=True)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_weights_of_another_precision_are_refused_instead_of_read_as_float32(dtype):
    weight = paddle.ones([4]).astype(dtype)
    with pytest.raises(TypeError, match=f"layer_norm needs float32, not .*{dtype}"):
        cpu.layer_norm(paddle.ones([2, 4]), weight, weight, 1e-6)


def notes_of(tmp_path, processes=1, **environ):
    """Return what fresh processes, which start together, say of their kernels; their cache is in `tmp_path`."""
    command = [sys.executable, "-c", "import models; print(models.native.kernels().note)"]
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), **environ}
    started = [
        subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, encoding="utf-8")
        for _ in range(processes)
    ]
    notes = [process.communicate(timeout=300)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * processes
    return notes


def test_processes_that_build_at_the_same_time_leave_one_library_which_later_ones_load(tmp_path):
    assert all(note.startswith("kernels built by ") for note in notes_of(tmp_path, processes=2))
    (file,) = (tmp_path / "regionvit").iterdir()
    built = file.stat().st_mtime_ns
    assert notes_of(tmp_path)[0].startswith("kernels built by ")
    assert file.stat().st_mtime_ns == built


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"REGIONVIT_KERNELS": "paddle"}, "REGIONVIT_KERNELS=paddle"),
        ({"PATH": "", "CC": ""}, "no C compiler"),
        ({"CC": "false"}, "false failed"),
        ({"CC": "no-such-compiler -m64"}, "no C compiler no-such-compiler"),
        ({"CC": "'"}, "is no command"),
        ({"XDG_CACHE_HOME": __file__}, "cannot be written"),
    ],
    ids=[
        "switched off",
        "no compiler",
        "a compiler that fails",
        "a compiler that is missing",
        "half a quotation",
        "no cache",
    ],
)
def test_where_they_cannot_be_built_paddles_run_and_the_reason_is_named(environ, reason, tmp_path):
    (note,) = notes_of(tmp_path, **environ)
    assert note.startswith("Paddle's kernels")
    assert reason in note
    assert "\n" not in note


def test_a_compiler_may_have_arguments_which_make_another_library(tmp_path):
    assert notes_of(tmp_path)[0].startswith("kernels built by ")
    assert notes_of(tmp_path, CC="cc -mno-avx512f") == ["kernels built by cc"]
    assert len(list((tmp_path / "regionvit").iterdir())) == 2


def test_a_damaged_library_is_built_again(tmp_path):
    notes_of(tmp_path)
    (file,) = (tmp_path / "regionvit").iterdir()
    file.write_bytes(b"not a library")
    assert notes_of(tmp_path)[0].startswith("kernels built by ")


@pytest.mark.slow
def test_a_cpu_without_vectors_of_512_bits_computes_the_same(tmp_path):
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "CC": "cc -mno-avx512f"}
    tests = "attention or gelu or depthwise or nan"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", __file__, "-k", tests]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
