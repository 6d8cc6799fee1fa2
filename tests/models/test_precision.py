"""What computes in which type in 16 bits. On a CPU float64 stands in for 16 bits: Paddle has kernels for it there."""

import contextlib
from unittest import mock

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from engine.benchmark.count import STAND_IN, as_on_a_gpu, stand_in_precision
from engine.metrics.losses import LabelSmoothingCrossEntropy
from models import build_model
from models.layers import DepthwiseConv2D, Linear
from models.precision import CastOnce
from tests.support.reference import KINDS, fill, narrow, picture

pytestmark = pytest.mark.cpu
# What the model computes by functions: the first input and the result are activations.
FUNCTIONS = [(F, name) for name in ("linear", "conv2d", "gelu", "softmax", "layer_norm", "embedding")]
FUNCTIONS += [(paddle, "matmul")]
METHODS = ["__add__", "__mul__", "mean", "split"]


@contextlib.contextmanager
def recorded(around=lambda result: result):
    """Record (function, types of the inputs, type of the result) of all that the model computes by `FUNCTIONS`."""
    seen = []

    def watch(name, own):
        def function(*inputs, **keywords):
            result = around(own(*inputs, **keywords))
            depthwise = keywords.get("groups", 1) > 1
            types = tuple(each.dtype for each in inputs if isinstance(each, paddle.Tensor))
            first = result[0] if isinstance(result, list) else result
            seen.append((f"depthwise_{name}" if depthwise else name, types, first.dtype))
            return result

        return function

    with contextlib.ExitStack() as stack:
        for place, name in [*FUNCTIONS, *((paddle.Tensor, name) for name in METHODS)]:
            stack.enter_context(mock.patch.object(place, name, watch(name, getattr(place, name))))
        yield seen


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("name", KINDS)
def test_all_activations_have_16_bits_but_for_lookups_and_depthwise_convolutions(name, level):
    model = narrow(name)
    model.train()
    with as_on_a_gpu():
        stand_in_precision(level).convert(model)
        with recorded() as seen:
            logits = model(picture(1, 64, 96))
        assert logits.dtype == STAND_IN
        logits.astype("float32").sum().backward()
    assert {name for name, *_ in seen} >= {"linear", "matmul", "softmax", "layer_norm", "gelu", "__add__", "embedding"}
    for function, types, result in seen:
        exact = function in ("embedding", "depthwise_conv2d")
        assert result == (paddle.float32 if exact else STAND_IN), function
        if function == "layer_norm":
            types = types[:1]  # its parameters are float32
        if function != "embedding":
            assert set(types) == {result}, function
    for key, parameter in model.named_parameters():
        assert parameter.grad.dtype == parameter.dtype, key
        dense = level == "O2" and ("attn.qkv" in key or "mlp" in key)
        assert not dense or parameter.dtype == STAND_IN, key


def test_norms_depthwise_convolutions_and_rel_pos_get_float32_gradients_at_o2():
    model = fill(
        build_model("regionvit_small_w14_peg_224", embed_dim=[8, 8, 16, 32, 64], num_heads=[1] * 4, num_classes=2)
    )
    stand_in_precision("O2").convert(model)
    exact = [layer.peg.weight for layer in model.layers]
    exact += [layer.weight for layer in model.sublayers() if isinstance(layer, DepthwiseConv2D)]
    exact += [weights for key, weights in model.named_parameters() if "norm" in key or key.endswith("rel_pos")]
    with as_on_a_gpu():
        model(picture(1, 64, 64)).astype("float32").sum().backward()
    assert len(exact) > 20
    assert {str(weights.grad.dtype) for weights in exact} == {str(paddle.float32)}


def test_an_encoder_casts_its_weights_once_though_rsa_and_lsa_share_them():
    model, casts = narrow("regionvit_tiny_224"), []
    encoder = model.layers[0].block[1]
    own = paddle.Tensor.astype
    weights = [
        weight for layer in encoder.sublayers() if isinstance(layer, Linear) for weight in (layer.weight, layer.bias)
    ]
    C = encoder.norm0.weight.shape[0]
    regional, local, bias = (paddle.zeros(shape, STAND_IN) for shape in ([1, 4, C], [4, 49, C], [2 * 50 * 50]))

    def astype(tensor, dtype):
        casts.append(int(tensor.size))
        return own(tensor, dtype)

    with as_on_a_gpu(), mock.patch.object(paddle.Tensor, "astype", astype):
        encoder(regional, local, bias)
    norms = [C] * 6  # what stands in for a GPU's layer norm casts its parameters
    assert sorted(casts) == sorted([sum(int(weight.size) for weight in weights), *norms])


def test_weights_cast_once_give_the_gradients_of_weights_cast_at_each_use():
    gradients = []
    for together in (False, True):
        paddle.seed(1)
        layers = [Linear(3, 4), Linear(4, 3, bias=False)]
        x = paddle.to_tensor(np.random.RandomState(0).standard_normal([5, 3]))
        with CastOnce(layers, STAND_IN) if together else contextlib.nullcontext():
            y = layers[1](layers[0](x))
            layers[1](layers[0](y)).square().sum().backward()
        assert all("in_type" not in layer.__dict__ for layer in layers)
        gradients.append([weights.grad.numpy() for layer in layers for weights in layer.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_rounding_all_activations_to_bfloat16_keeps_the_loss_and_the_gradients_close():
    """Imitated: results of float64 kernels, and their gradients, are rounded to numbers that bfloat16 has."""

    class Rounded(paddle.autograd.PyLayer):
        @staticmethod
        def forward(ctx, x):
            return x.astype("float32").astype("bfloat16").astype(STAND_IN)

        @staticmethod
        def backward(ctx, gradient):
            return gradient.astype("float32").astype("bfloat16").astype(STAND_IN)

    def rounded(result):
        if isinstance(result, list):
            return [rounded(each) for each in result]
        return Rounded.apply(result) if result.dtype == STAND_IN else result

    model, criterion = fill(build_model("regionvit_micro_32", num_classes=10)), LabelSmoothingCrossEntropy()
    results = []
    for around in (None, rounded):
        model.computes_in = STAND_IN if around else None
        with as_on_a_gpu(), recorded(around) if around else contextlib.nullcontext():
            loss = criterion(model(picture(2, 32, 32)).astype("float32"), paddle.to_tensor([3, 7]))
            loss.backward()
        gradient = np.concatenate([weights.grad.numpy().flatten() for weights in model.parameters()])
        model.clear_gradients()
        results.append((loss.item(), gradient))
    (loss, gradient), (close, near) = results
    assert loss != close
    assert close == pytest.approx(loss, rel=2e-2)
    assert near @ gradient / np.linalg.norm(near) / np.linalg.norm(gradient) > 0.99
