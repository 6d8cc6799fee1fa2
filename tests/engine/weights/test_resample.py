"""Weights of window 7 in a model of window 14, on smooth pictures: random fields of low frequency."""

import numpy as np
import paddle
import pytest

from engine.weights import pdparams, resample
from models import build_model
from models.attention import Attention, position_biases
from models.windows import relative_position_index, table_order
from tests.support.models import without_random_values
from tests.support.reference import parameter

SIDE = 224


def smooth(count, cycles=1, side=SIDE):
    """Pictures [count, 3, side, side] of all waves with at most so many cycles along a side."""
    rng, at = np.random.default_rng(0), np.arange(side) / side
    waves = [(y, x) for y in range(-cycles, cycles + 1) for x in range(-cycles, cycles + 1)]
    pictures = np.zeros([count, 3, side, side])
    for y, x in waves:
        angle = 2 * np.pi * (y * at[:, None] + x * at)
        a, b = rng.standard_normal([2, count, 3, 1, 1])
        pictures += a * np.cos(angle) + b * np.sin(angle)
    return (pictures / len(waves) ** 0.5).astype("float32")


def enlarged(pictures, side):
    old = pictures.shape[-1]
    centres = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
    matrix = np.stack([np.interp(centres, np.arange(old), row) for row in np.eye(old)], axis=1)
    return (matrix @ pictures @ matrix.T).astype("float32")


def table(ws, bias):
    """A rel_pos table [1, (2 ws - 1)**2] of a function of offsets in units of windows, from -1 to 1."""
    dy, dx = np.meshgrid(*[np.linspace(-1, 1, 2 * ws - 1)] * 2, indexing="ij")
    order, wrapped = table_order(ws), np.empty([2 * ws - 1, 2 * ws - 1], "float32")
    wrapped[order[:, None], order] = bias(dy, dx)
    return wrapped.reshape([1, -1])


def difference(a, b):
    """The root mean square of a - b, in units of b's deviation from its mean."""
    return np.sqrt(((a - b) ** 2).mean()) / b.std()


SMOOTH = {
    "slope": (lambda dy, dx: 2 * dy - dx, 1e-6),
    "far": (lambda dy, dx: np.hypot(dy - 0.2, dx), 0.03),
    "bump": (lambda dy, dx: np.exp(-((dy - 0.3) ** 2 + dx**2) / 0.5), 0.03),
}


@pytest.mark.parametrize(("old", "new"), [(7, 14), (14, 7), (7, 12), (4, 7)])
@pytest.mark.parametrize("bias", SMOOTH)
def test_a_table_that_is_a_smooth_function_of_offset_is_reproduced(bias, old, new):
    function, bound = SMOOTH[bias]
    found, expected = resample.relative_positions(table(old, function), new), table(new, function)
    assert found.shape == expected.shape
    bound *= 3 if old == 4 else 1
    assert difference(found, expected) < bound


def test_a_table_interpolated_in_its_wrapped_order_would_not_be(monkeypatch):
    monkeypatch.setattr(resample, "table_order", lambda ws: np.arange(2 * ws - 1))
    for function, bound in SMOOTH.values():
        assert difference(resample.relative_positions(table(7, function), 14), table(14, function)) > 4 * bound


@pytest.mark.parametrize("ws", [4, 7, 14])
def test_the_same_size_changes_nothing(ws):
    rng = np.random.default_rng(1)
    rel_pos = rng.standard_normal([3, (2 * ws - 1) ** 2]).astype("float32")
    kernel = rng.standard_normal([5, 3, 4 * ws, 4 * ws]).astype("float32")
    np.testing.assert_array_equal(resample.relative_positions(rel_pos, ws), rel_pos)
    np.testing.assert_allclose(resample.patch_kernel(kernel, 4 * ws), kernel, atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(28, 56), (16, 28), (28, 48)])
def test_a_kernel_makes_of_an_enlarged_patch_what_it_made_of_the_patch(old, new):
    rng = np.random.default_rng(1)
    kernel, patches = rng.standard_normal([5, 3, old, old]), rng.standard_normal([4, 3, old, old])
    found = np.tensordot(enlarged(patches, new), resample.patch_kernel(kernel, new), axes=[[1, 2, 3]] * 2)
    expected = np.tensordot(patches, kernel, axes=[[1, 2, 3]] * 2)
    assert difference(found, expected) < 1e-5


@pytest.mark.parametrize(("old", "new"), [(28, 56), (56, 28)])
def test_a_kernel_answers_to_a_plain_colour_as_before(old, new):
    kernel = np.random.default_rng(1).standard_normal([5, 3, old, old])
    np.testing.assert_allclose(resample.patch_kernel(kernel, new).sum((2, 3)), kernel.sum((2, 3)), atol=1e-3)


def test_attention_in_a_larger_window_looks_at_the_same_places(monkeypatch):
    """Strong biases over a smooth field: each token of the larger window sees what its place in the smaller one saw."""
    paddle.seed(0)
    small, large = Attention(8, 1, 7), Attention(8, 1, 13)
    bias = table(7, lambda dy, dx: 4 * dy - 3 * dx)
    large.set_state_dict({**small.state_dict(), "rel_pos": resample.relative_positions(bias, 13)})
    small.rel_pos.set_value(paddle.to_tensor(bias))

    def attended(attention, ws):
        y, x = np.divmod(np.arange(ws * ws), ws) / np.float32(ws - 1)
        tokens = np.stack([y, x, np.sin(3 * x), np.cos(3 * y), y * x, y**2, x**2, y + x], axis=1)
        tokens = np.concatenate([np.zeros([1, 8]), tokens]).astype("float32")[None]
        index = paddle.to_tensor(relative_position_index(ws))
        (biases,) = position_biases([attention], index, paddle.float32)
        local = attention(paddle.to_tensor(tokens), biases).numpy()[0, 1:]
        return local.reshape([ws, ws, 8])

    assert difference(attended(large, 13)[::2, ::2], attended(small, 7)) < 0.12
    monkeypatch.setattr(resample, "table_order", lambda ws: np.arange(2 * ws - 1))
    large.rel_pos.set_value(paddle.to_tensor(resample.relative_positions(bias, 13)))
    assert difference(attended(large, 13)[::2, ::2], attended(small, 7)) > 0.18


PAIRS = {"small": "small_w14", "small (PEG)": "small_w14_peg", "base": "base_w14"}
SHALLOW = (1, 1, 1, 1)


def weights(model):
    """Random ones that treat a map's edges mildly, as trained ones do, and whose biases fall off with distance."""
    arrays = {key: parameter(key, tuple(value.shape), "window") for key, value in model.named_parameters()}
    for key, value in arrays.items():
        if key.endswith("block.0.proj.2.weight"):
            value *= 0.1
            value[:, :, 1, 1] += 1
        if key.endswith("rel_pos"):
            reach = np.linspace(0.3, 2, len(value))
            value[:] = np.concatenate([table(7, lambda dy, dx, r=r: 2 * np.exp(-(dy**2 + dx**2) / r)) for r in reach])
    return arrays


@pytest.fixture(scope="module", params=PAIRS)
def pair(request):
    """A shallow model of window 7, and one of window 14 with its weights resampled; PEG is 0 there."""
    with without_random_values():
        old, new = (
            build_model(f"regionvit_{name}_224", num_classes=10, depth=SHALLOW)
            for name in (request.param.split()[0], PAIRS[request.param])
        )
    arrays = weights(old)
    pdparams.assign(dict(old.named_parameters()), arrays)
    pdparams.assign(dict(new.named_parameters()), resample.fit(arrays, dict(new.named_parameters()))[0])
    for model in (old, new):
        model.eval()
    return old, new


@paddle.no_grad()
def outputs(model, pictures):
    pictures = paddle.to_tensor(pictures)
    return model.cls_token(pictures).numpy(), model(pictures).numpy()


def test_smooth_pictures_twice_as_large_have_the_same_regional_tokens_and_close_logits(pair):
    pictures, (old, new) = smooth(3, side=112), pair
    tokens, expected_logits = outputs(old, pictures)
    found, logits = outputs(new, enlarged(pictures, 224))
    assert difference(found, tokens) < 0.01
    apart = difference(logits, expected_logits)
    assert apart < 0.2
    kernel = new.cls_token.proj.weight
    kernel.set_value(kernel * 4)  # as if it were enlarged like a picture
    _, logits = outputs(new, enlarged(pictures, 224))
    kernel.set_value(kernel / 4)
    assert difference(logits, expected_logits) > 2 * apart


def test_regional_tokens_of_a_smooth_picture_are_near_the_mean_of_the_four_that_they_replace(pair):
    pictures, (old, new) = smooth(3), pair
    (tokens, _), (found, _) = outputs(old, pictures), outputs(new, pictures)
    assert difference(found, tokens.reshape([3, -1, 4, 2, 4, 2]).mean((3, 5))) < 0.3
