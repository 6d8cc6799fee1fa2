"""The operations of `models.cpu` equal Paddle's own, forward and backward."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from engine.metrics.losses import LabelSmoothingCrossEntropy
from models import VARIANTS, build_model, cpu, lean, native
from tests.support.kernels import need_kernels
from tests.support.reference import fill, free_model, narrow, unfilled

pytestmark = pytest.mark.cpu
OPERATIONS = {
    "linear that widens": (cpu.linear, [2, 5, 8], [8, 24], [24]),
    "linear that narrows": (cpu.linear, [2, 5, 24], [24, 8], [8]),
    "linear of two axes": (cpu.linear, [7, 8], [8, 8], [8]),
    "layer_norm": (lambda x, w, b: cpu.layer_norm(x, w, b, 1e-6), [3, 5, 16], [16], [16]),
    "layer_norm_2d": (lambda x, w, b: cpu.layer_norm_2d(x, w, b, 1e-5), [2, 32, 4, 4], *2 * ([1, 32, 1, 1],)),
    "layer_norm_2d, odd sides": (
        lambda x, w, b: cpu.layer_norm_2d(x, w, b, 1e-5),
        [1, 7, 13, 23],
        *2 * ([1, 7, 1, 1],),
    ),
    "conv2d": (lambda x, w, b: cpu.conv2d(x, w, b, 2, 1), [2, 3, 8, 6], [5, 3, 3, 3], [5]),
    "depthwise_conv2d": (lambda x, w, b: cpu.depthwise_conv2d(x, w, b, 1), [2, 4, 7, 18], [4, 1, 3, 3], [4]),
    "depthwise_conv2d, stride 2": (lambda x, w, b: cpu.depthwise_conv2d(x, w, b, 2), [2, 4, 7, 6], [8, 1, 3, 3], [8]),
    "depthwise_conv2d, stride 2, odd": (lambda x, w: cpu.depthwise_conv2d(x, w, None, 2), [1, 3, 8, 35], [9, 1, 3, 3]),
    "depthwise_conv2d, no bias": (lambda x, w: cpu.depthwise_conv2d(x, w, None, 1), [2, 4, 5, 9], [4, 1, 3, 3]),
    "depthwise_conv2d of a pixel": (lambda x, w, b: cpu.depthwise_conv2d(x, w, b, 2), [3, 2, 1, 1], [4, 1, 3, 3], [4]),
    "add_row": (cpu.add_row, [6, 40], [40]),
    "gelu": (cpu.gelu, [3, 7, 11]),
    "linear of gelu": (lean.linear_of_gelu, [2, 5, 24], [24, 8], [8]),
}


@pytest.fixture(params=["native", "paddle"])
def kernels(request, monkeypatch):
    """Both ways of a CPU: the kernels in C, and Paddle's operators where there is no compiler."""
    if request.param == "paddle":
        monkeypatch.setattr(native, "available", lambda: False)
    else:
        need_kernels()
    return request.param


def outputs_and_gradients(function, *inputs):
    tensors = [paddle.to_tensor(value, stop_gradient=False) for value in inputs]
    out = function(*tensors)
    weights = np.random.RandomState(9).standard_normal(out.shape).astype("float32")
    (out * paddle.to_tensor(weights)).sum().backward()
    return [out.numpy(), *(tensor.grad.numpy() for tensor in tensors)]


def assert_equal_to_rounding(ours, plain):
    for one, other in zip(ours, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_equals_paddles_own(name, kernels):
    function, *shapes = OPERATIONS[name]
    random = np.random.RandomState(0)
    inputs = [random.standard_normal(shape).astype("float32") for shape in shapes]
    ours = outputs_and_gradients(function, *inputs)
    with cpu.plain():
        plain = outputs_and_gradients(function, *inputs)
    assert_equal_to_rounding(ours, plain)


def layer_norm_of_pixels(x, weight, bias):
    return cpu.layer_norm_2d(x.reshape([-1, 16, 1, 1]), *(each.reshape([1, 16, 1, 1]) for each in (weight, bias)), 1e-6)


@pytest.mark.parametrize("norm", [OPERATIONS["layer_norm"][0], layer_norm_of_pixels], ids=["rows", "pixels"])
@pytest.mark.parametrize("row", ["zeros", "constant", "far from zero", "tiny"])
def test_layer_norm_of_hard_rows_equals_paddles_own(row, norm, kernels):
    x = np.random.RandomState(1).standard_normal([4, 16]).astype("float32")
    x[1] = {"zeros": 0 * x[1], "constant": 0 * x[1] + 3, "far from zero": x[1] + 50, "tiny": 1e-4 * x[1]}[row]
    weight, bias = np.linspace(0.5, 1.5, 16, dtype="float32"), np.zeros(16, "float32")
    ours = outputs_and_gradients(norm, x, weight, bias)
    with cpu.plain():
        plain = outputs_and_gradients(norm, x, weight, bias)
    assert_equal_to_rounding(ours, plain)


def test_layer_norms_gradient_has_the_same_bits_on_every_paddle(kernels):
    """A row of equal numbers, of which one has a gradient: nothing is added up, so no order of adding matters."""
    weight = np.arange(1, 97, dtype="float32")  # C times the last one over C is exact: it shows 1 / sqrt(epsilon)
    x, w = (paddle.to_tensor(value, stop_gradient=False) for value in (np.full([96, 96], 3, "float32"), weight))
    out = cpu.layer_norm(x, w, paddle.zeros([96]), 1e-6)
    (out * paddle.eye(96)).sum().backward()
    gradient = x.grad.numpy()
    inverse = -gradient[95, 0]
    assert inverse == pytest.approx(1000, rel=1e-5)
    np.testing.assert_array_equal(-gradient[1:, 0], (weight / np.float32(96) * inverse)[1:])


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_goes_its_own_way_on_a_cpu_but_not_within_plain(name, kernels, monkeypatch):
    def watch(place, its_name):
        own = getattr(place, its_name)
        monkeypatch.setattr(place, its_name, lambda *inputs: calls.append(its_name) or own(*inputs))

    calls = []
    if (name, kernels) == ("gelu", "paddle"):
        pytest.skip("GELU has no other way there")
    for special in (cpu._Linear, cpu._LayerNorm, cpu._LayerNorm2D, cpu._DepthwiseConv2D, cpu._AddRow, cpu._Gelu):
        watch(special, "apply")
    watch(F, "unfold")
    function, *shapes = OPERATIONS[name]
    inputs = [paddle.ones(shape) for shape in shapes]
    with cpu.plain():
        function(*inputs)
    assert not calls
    function(*inputs)
    assert calls


@pytest.mark.parametrize(
    ("name", "frozen"), [(name, i) for name, (_, *shapes) in OPERATIONS.items() for i in range(len(shapes))]
)
def test_a_frozen_input_gets_no_gradient_and_the_others_theirs(name, frozen, kernels):
    function, *shapes = OPERATIONS[name]
    random = np.random.RandomState(4)
    values = [random.standard_normal(shape).astype("float32") for shape in shapes]
    _, *expected = outputs_and_gradients(function, *values)
    tensors = [paddle.to_tensor(value, stop_gradient=i == frozen) for i, value in enumerate(values)]
    out = function(*tensors)
    (out * paddle.to_tensor(np.random.RandomState(9).standard_normal(out.shape).astype("float32"))).sum().backward()
    for i, (tensor, gradient) in enumerate(zip(tensors, expected, strict=True)):
        if i == frozen:
            assert tensor.grad is None
        else:
            np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=0, atol=1e-5)


def test_a_head_alone_can_be_trained():
    model = build_model("regionvit_micro_32", num_classes=10)
    for name, parameter in model.named_parameters():
        parameter.stop_gradient = not name.startswith("head.")
    model(paddle.ones([2, 3, 32, 32])).sum().backward()
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert trained == ["head.weight", "head.bias"]


def loss_and_gradients(model, pictures, labels):
    loss = LabelSmoothingCrossEntropy()(model(pictures), labels)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    model.clear_gradients()
    return [loss.numpy(), *(gradient.numpy() for gradient in gradients.values())]


@pytest.mark.parametrize("variant", ["regionvit_tiny_224", "regionvit_micro_32"])
def test_gradients_of_a_variant_equal_the_plain_formulations(variant, kernels):
    check_gradients(narrow(variant))


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_a_variant_at_full_width_equal_the_plain_formulations(variant):
    check_gradients(fill(unfilled(variant), "gradients"))


def check_gradients(model):
    size = model.img_size
    pictures = paddle.to_tensor(np.random.RandomState(2).standard_normal([2, 3, size, size]).astype("float32"))
    ours = loss_and_gradients(model, pictures, paddle.to_tensor([3, 7]))
    with cpu.plain():
        plain = loss_and_gradients(model, pictures, paddle.to_tensor([3, 7]))
    assert_equal_to_rounding(ours, plain)


@pytest.mark.parametrize("peg", [False, True])
@pytest.mark.parametrize("size", [224, 200])
def test_leaving_out_the_last_local_tokens_changes_no_logit(size, peg):
    model = fill(free_model(peg=peg), "last")
    model.eval()
    pictures = paddle.to_tensor(np.random.RandomState(3).standard_normal([2, 3, size, size]).astype("float32"))
    with paddle.no_grad():
        regional, local = model.cls_token(pictures), model.patch_embed(pictures)
        for stage in model.layers:
            regional, local = stage(regional, local)
        whole = model.head(model.norm(regional.flatten(2).transpose([0, 2, 1])).mean(axis=1))
        np.testing.assert_allclose(model(pictures).numpy(), whole.numpy(), rtol=0, atol=1e-6)


def test_the_rel_pos_that_nothing_reads_gets_a_zero_gradient_so_that_weight_decay_reaches_it():
    model = free_model()
    model(paddle.randn([2, 3, 224, 224])).sum().backward()
    unread = model.layers[-1].block[-1].attn.rel_pos.grad
    assert unread is not None
    assert float(unread.abs().max()) == 0.0
    assert float(model.layers[0].block[-1].attn.rel_pos.grad.abs().max()) > 0
