"""Which kernels a step launches, as Paddle's own log names them, and which of them a GPU build lacks."""

import os

import paddle
import pytest

from common import paddle_private
from engine.benchmark import kernels
from engine.config.load import load_config
from tests.support.runs import ROOT

LOG = b"""\
I1201 03:12:01.482001 2211 api.cc:5512] matmul API kernel key: [CPU, NCHW, float32]
I1201 03:12:01.482005 2211 api.cc:5519] matmul kernel: {"input":["CPU, NCHW, float32"],"output":[]}
I1201 03:12:01.482009 2211 dense_tensor.cc:120] kernel: nothing of an operator
I1201 03:12:01.482011 2211 api.cc:5600] merged_adam_ API kernel key: [CPU, NCHW, float64]
I1201 03:12:01.482012 2211 api.cc:5601] merged_adam kernel: {"input":[
a word of somebody else
"""


def test_the_log_names_kernels_and_their_types():
    assert kernels.kernels(LOG.splitlines()) == {("matmul", "float32"), ("merged_adam", "float64")}


def test_what_paddle_writes_meanwhile_is_read_and_shown_again_afterwards(capfd):
    with kernels.logged() as lines:
        os.write(2, b"within\n")
    os.write(2, b"after\n")
    assert lines == [b"within"]
    assert capfd.readouterr().err == "after\n"


@pytest.mark.skipif(paddle.is_compiled_with_cuda(), reason="a CPU build is to have no kernels for a GPU")
def test_a_cpu_build_has_none():
    wanted = {("matmul", "float32"), ("matmul", "float16")}
    assert kernels.missing(wanted) == sorted(wanted)


def test_a_kernel_that_a_gpu_build_lacks_is_found(monkeypatch):
    has = {("matmul", "float32"), ("matmul", "float16")}
    monkeypatch.setattr(paddle_private, "gpu_kernels", lambda: has)
    assert kernels.missing({*has, ("matmul", "bfloat16")}) == [("matmul", "bfloat16")]


def test_the_model_and_the_optimizer_count_in_16_bits_too_and_the_loss_does_not(monkeypatch):
    """Paddle writes its log if it was started so; here the names are put where it writes."""
    linear, loss = paddle.nn.functional.linear, paddle.nn.functional.log_softmax

    def named(name, function):
        def wrapped(*arguments, **keywords):
            os.write(2, f"I1 api.cc:1] {name} API kernel key: [CPU, NCHW, float32]\n".encode())
            os.write(2, f"I1 api.cc:2] {name} kernel: {{\n".encode())
            return function(*arguments, **keywords)

        return wrapped

    monkeypatch.setattr(paddle.nn.functional, "linear", named("of_the_model", linear))
    monkeypatch.setattr(paddle.nn.functional, "log_softmax", named("of_the_loss", loss))
    found = kernels.launched(load_config(ROOT / "configs" / "micro_cifar10.yaml", ["device=cpu"]))
    assert {dtype for name, dtype in found if name == "of_the_model"} == {"float32", "float16", "bfloat16"}
    assert {dtype for name, dtype in found if name == "of_the_loss"} == {"float32"}
