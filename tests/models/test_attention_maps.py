import dataclasses

import numpy as np
import paddle
import pytest

from models import VARIANTS, build_model
from models.attention_maps import StageAttention, _keep_in, attention_maps
from models.rollout import rollout
from tests.support.reference import KINDS, fill, free_model, narrow, picture

# The first size fits the first stage's windows of every variant, the second those of none.
SETTINGS = [
    *((name, 50, 75, "exact") for name in VARIANTS),
    *((name, 50, 75, "reference") for name in KINDS),
    *((name, 112, 112, "exact") for name in KINDS),
]
ZERO = 1e-27  # Paddle's softmax on a CPU gives at least exp(-64) = 1.6e-28, also for masked keys


def one_stage(**overrides):
    """A model of one encoder with one head, 2 x 2 local tokens of 4 pixels in a window: regions of 8 x 8 pixels."""
    settings = {
        "embed_dim": (8, 8),
        "depth": (1,),
        "num_heads": (1,),
        "kernel_sizes": (2,),
        "downsampling": ("c",),
        "patch_size": 4,
        "patch_conv_type": "linear",
        "num_classes": 10,
    }
    return build_model("regionvit", **{**settings, **overrides})


def everything(weights, maps):
    return [array for stage in maps for array in getattr(stage, weights)]


def has_hooks(model):
    return any(layer._forward_pre_hooks or layer._forward_post_hooks for layer in model.sublayers(include_self=True))


def to_padding(stage):
    """What a stage's real tokens give to padding: numpy [encoders, B, R], the largest weight in each window."""
    ws, (Hr, Wr), (H, W) = stage.ws, stage.grid, stage.size
    real = np.zeros([Hr * ws, Wr * ws], bool)
    real[:H, :W] = True
    real = real.reshape(Hr, ws, Wr, ws).transpose(0, 2, 1, 3).reshape(Hr * Wr, ws * ws)
    real = np.concatenate([np.ones([Hr * Wr, 1], bool), real], axis=1)
    pairs = real[:, None, :, None] & ~real[:, None, None, :]
    return (stage.local * pairs).max(axis=(-3, -2, -1))


@pytest.fixture(
    scope="module",
    params=SETTINGS,
    ids=lambda param: "{}-{}x{}-{}".format(*param),
)
def recorded(request):
    """A narrow variant and the maps of two pictures: (name, padding mask, model, size, maps)."""
    name, *size, padding_mask = request.param
    model = narrow(name, padding_mask=padding_mask)
    return name, padding_mask, model, tuple(size), attention_maps(model, picture(1, *size))


def test_maps_have_their_shapes_and_rows_that_sum_to_one(recorded):
    name, _, model, size, maps = recorded
    features = model.forward_features(picture(1, *size), detection=True)
    assert len(maps) == len(features)
    variant, patch = VARIANTS[name], model.cls_token.patch_size
    Hr, Wr = (-(-side // patch) for side in size)
    if size[0] % patch or size[1] % patch:  # a multiple then gets a whole patch too
        Hr, Wr = (side // patch + 1 for side in size)
    for i, (stage, feature) in enumerate(zip(maps, features, strict=True)):
        if variant["downsampling"][i] == "sc":
            Hr, Wr = -(-Hr // 2), -(-Wr // 2)
        depth, heads, ws = 2, variant["num_heads"][i], variant["kernel_sizes"][i]
        assert (stage.grid, list(stage.size), stage.ws) == ((Hr, Wr), feature.shape[2:], ws)
        assert stage.regional.shape == (depth, 2, heads, Hr * Wr, Hr * Wr)
        assert stage.local.shape == (depth, 2, Hr * Wr, heads, 1 + ws * ws, 1 + ws * ws)
        for weights in (stage.regional, stage.local):
            assert weights.dtype == np.float32
            assert weights.min() >= 0
            np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)


def test_padding_gets_nothing_under_the_exact_mask_and_something_in_the_references_last_window(recorded):
    """At 50 x 75 both sides of the first stage's last window are padded, whatever the variant."""
    _, padding_mask, _, _, maps = recorded
    if padding_mask == "exact":
        for stage in maps:
            assert (to_padding(stage) < ZERO).all()
    else:
        first = to_padding(maps[0])
        assert (first[..., -1] > 1e-6).all()
        assert (first[..., :-1] < ZERO).all()


def test_rollout_of_each_region_sums_to_one_under_the_exact_mask(recorded):
    _, padding_mask, model, size, maps = recorded
    for i, stage in enumerate(maps):
        shares = rollout(model, maps, size, i)
        assert shares.shape == (2, stage.grid[0] * stage.grid[1], *size)
        assert shares.min() >= 0
        if padding_mask == "exact":
            np.testing.assert_allclose(shares.sum(axis=(2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_outputs_are_the_same_bits_with_recording_before_and_none_is_left_behind(name):
    model, x = narrow(name), picture(1, 50, 75, batch=1)
    before = model(x).numpy()
    attributes = {layer: set(vars(layer)) for layer in model.sublayers(include_self=True)}
    attention_maps(model, x)
    assert not has_hooks(model)
    assert {layer: set(vars(layer)) for layer in model.sublayers(include_self=True)} == attributes
    np.testing.assert_array_equal(model(x).numpy(), before)


def test_outputs_are_the_same_to_rounding_while_being_recorded(monkeypatch):
    model, x, seen = fill(free_model()), picture(1, 64, 64), []
    expected = model.forward_features(x, detection=True)
    original = model.forward_features
    monkeypatch.setattr(model, "forward_features", lambda *a, **k: seen.extend(original(*a, **k)))
    attention_maps(model, x)
    assert len(seen) == len(expected)
    for a, b in zip(seen, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-5)


def test_modes_of_layers_are_left_as_they_were():
    model = free_model(drop_rate=0.5, attn_drop_rate=0.5, drop_path_rate=0.5)
    model.train()
    model.layers[1].eval()
    modes = [layer.training for layer in model.sublayers(include_self=True)]
    first, second = (attention_maps(model, picture(1, 64, 64)) for _ in range(2))
    assert [layer.training for layer in model.sublayers(include_self=True)] == modes
    for a, b in zip(everything("local", first), everything("local", second), strict=True):
        np.testing.assert_array_equal(a, b)  # nothing was dropped at random


def test_a_failing_pass_leaves_neither_hooks_nor_another_mode():
    model = free_model()
    model.train()
    with pytest.raises(Exception):  # noqa: B017 -- whatever Paddle says of five channels
        attention_maps(model, paddle.ones([1, 5, 64, 64]))
    assert not has_hooks(model)
    assert model.training


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_mixed_precision_come_in_32_bits(dtype):
    kept = []
    _keep_in(kept)(None, (paddle.full([2], 0.5).astype(dtype),))
    assert kept[0].dtype == np.float32
    assert kept[0].tolist() == [0.5, 0.5]


def test_nothing_keeps_a_gradient():
    model = free_model()
    attention_maps(model, picture(1, 64, 64))
    assert all(parameter.grad is None for parameter in model.parameters())


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def layer_norm(x, norm):
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + norm.epsilon)
    return x * norm.weight.numpy() + norm.bias.numpy()


def by_hand(attn, x, bias=0.0):
    """softmax(q k^T + bias) of x [S, N, C] in numpy, and what attention makes of it."""
    S, N, C = x.shape
    heads = attn.num_heads
    qkv = x @ attn.qkv.weight.numpy() + attn.qkv.bias.numpy()
    q, k, v = qkv.reshape(S, N, 3, heads, C // heads).transpose(2, 0, 3, 1, 4)
    weights = softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(C // heads) + bias)
    out = (weights @ v).transpose(0, 2, 1, 3).reshape(S, N, C)
    return weights, out @ attn.proj.weight.numpy() + attn.proj.bias.numpy()


def test_maps_are_the_softmax_of_queries_and_keys():
    """The first encoder again in numpy, from the model's first maps, its weights and the written rules alone."""
    model, B, grid, ws = fill(one_stage(num_heads=(2,), kernel_sizes=(3,))), 2, (2, 3), 3
    x = picture(1, grid[0] * ws * 4, grid[1] * ws * 4)
    encoder, R, C = model.layers[0].block[1], grid[0] * grid[1], 8
    regional = model.cls_token(x).numpy().reshape(B, C, R).transpose(0, 2, 1)
    local = model.patch_embed(x).numpy().reshape(B, C, grid[0], ws, grid[1], ws).transpose(0, 2, 4, 3, 5, 1)
    rsa, change = by_hand(encoder.attn, layer_norm(regional, encoder.norm0))
    sequences = np.concatenate([(regional + change).reshape(-1, 1, C), local.reshape(-1, ws * ws, C)], axis=1)
    side, table = 2 * ws - 1, encoder.attn.rel_pos.numpy()
    bias = np.zeros([2, 1 + ws * ws, 1 + ws * ws])
    for query in range(ws * ws):
        for key in range(ws * ws):
            dy, dx = key // ws - query // ws, key % ws - query % ws
            bias[:, 1 + query, 1 + key] = table[:, (dy + ws // 2) % side * side + (dx + ws // 2) % side]
    lsa, _ = by_hand(encoder.attn, layer_norm(sequences, encoder.norm1), bias)

    (maps,) = attention_maps(model, x)
    np.testing.assert_allclose(maps.regional[0], rsa, atol=2e-6)
    np.testing.assert_allclose(maps.local[0], lsa.reshape(B, R, 2, *lsa.shape[2:]), atol=2e-6)


def test_rollout_loses_what_lies_on_padding_under_the_references_mask():
    model = narrow("regionvit_tiny_224", padding_mask="reference")
    maps = attention_maps(model, picture(1, 50, 75))
    sums = rollout(model, maps, (50, 75), 0).sum(axis=(2, 3))
    assert (sums < 0.999).all()
    assert (sums[:, -1] < sums[:, :-1].min(axis=1)).all()  # the last window holds the padding


def test_rollout_is_of_the_last_stage_by_default():
    model = fill(free_model())
    maps = attention_maps(model, picture(1, 64, 64))
    np.testing.assert_array_equal(rollout(model, maps, (64, 64)), rollout(model, maps, (64, 64), 3))
    with pytest.raises(IndexError):
        rollout(model, maps, (64, 64), 4)


def made_up(regional, local, grid, ws):
    """A stage's attention for one picture: the same weights [R, R] and [1 + ws*ws, 1 + ws*ws] for all, one encoder."""
    R = grid[0] * grid[1]
    local = np.broadcast_to(local, [1, 1, R, 1, *local.shape]).astype("float32")
    size = (grid[0] * ws, grid[1] * ws)
    return StageAttention(np.reshape(regional, [1, 1, 1, R, R]).astype("float32"), local, grid, size, ws)


def test_rollout_of_tokens_that_attend_to_themselves_is_their_own_patch():
    maps = [made_up(np.eye(4), np.eye(5), (2, 2), 2)]
    shares = rollout(one_stage(), maps, (16, 16))[0].reshape(2, 2, 16, 16)
    for row in range(2):
        for column in range(2):
            expected = np.zeros([16, 16])
            expected[8 * row :, 8 * column :][:8, :8] = 1 / 64
            np.testing.assert_allclose(shares[row, column], expected, atol=1e-7)


def test_rollout_of_even_attention_is_as_worked_out_by_hand():
    """LSA leaves (1 + 1/5) / 2 = 0.6 on the regional token, 0.1 on each local one; of the 0.6, RSA spreads 0.3 evenly.

    The own region so has 0.4 + 0.3 + 0.3 / 4 = 0.775, each other region 0.3 / 4 = 0.075.
    """
    maps = [made_up(np.full([4, 4], 1 / 4), np.full([5, 5], 1 / 5), (2, 2), 2)]
    shares = rollout(one_stage(), maps, (16, 16))[0]
    of_regions = shares.reshape(4, 2, 8, 2, 8).sum(axis=(2, 4)).reshape(4, 4)
    np.testing.assert_allclose(of_regions, np.full([4, 4], 0.075) + 0.7 * np.eye(4), atol=1e-6)


def test_rollout_follows_a_local_token_to_its_pixels_only():
    """The regional token looks at local token 3 alone, the bottom right one: half its share is on its 4 x 4 pixels."""
    local = np.eye(5)
    local[0] = [0, 0, 0, 0, 1]
    shares = rollout(one_stage(), [made_up(np.eye(4), local, (2, 2), 2)], (16, 16))[0, 0]
    np.testing.assert_allclose(shares[4:8, 4:8], 0.5 / 16 + 0.5 / 64, atol=1e-7)
    np.testing.assert_allclose(shares[:4, :8], 0.5 / 64, atol=1e-7)
    assert (shares[8:] == 0).all()


def test_rollout_takes_a_projection_as_the_mean_under_its_kernel():
    """1 x 4 regions become 1 x 2, then nothing is exchanged: column 0 sees 0 and half of 1, column 1 halves of 1, 3."""
    model = one_stage(
        embed_dim=(8, 8, 8), depth=(1, 1), num_heads=(1, 1), kernel_sizes=(2, 2), downsampling=("c", "sc")
    )
    maps = [made_up(np.eye(4), np.eye(5), (1, 4), 2), made_up(np.eye(2), np.eye(5), (1, 2), 2)]
    maps[1] = dataclasses.replace(maps[1], size=(1, 4))
    shares = rollout(model, maps, (8, 32))[0].reshape(2, 8, 4, 8).sum(axis=(1, 3))
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0, 0], [0, 1 / 4, 1 / 2, 1 / 4]], atol=1e-6)


@pytest.mark.parametrize(("peg", "kept"), [(False, 0.75), (True, 0.5)])
def test_rollout_drops_what_lies_on_padding_at_the_start_and_where_a_peg_pads_again(peg, kept):
    """The last encoder puts half on padding; without a PEG the first has half of that from a real token."""
    first, last = np.eye(5), np.eye(5)
    last[0], first[4] = [0, 0, 0, 0, 1], [0, 1, 0, 0, 0]
    local = np.stack([first, last]).reshape(2, 1, 1, 1, 5, 5).astype("float32")
    maps = [StageAttention(np.ones([2, 1, 1, 1, 1], "float32"), local, (1, 1), (1, 2), 2)]
    shares = rollout(one_stage(depth=(2,), peg=peg), maps, (4, 8))
    assert shares.sum() == pytest.approx(kept)


@pytest.mark.parametrize("target", range(6))
def test_a_model_that_looks_at_one_region_has_its_rollout_there(target):
    """Keys are large in the one bright region, and every query asks for large keys."""
    model = one_stage()
    for name, value in model.named_parameters():
        value.set_value(paddle.ones_like(value) if "norm" in name and "weight" in name else paddle.zeros_like(value))
    for embed in (model.cls_token.proj, model.patch_embed.proj):
        weight = np.zeros(embed.weight.shape, "float32")
        weight[0] = 1.0  # channel 0: brightness
        embed.weight.set_value(paddle.to_tensor(weight))
    attn = model.layers[0].block[1].attn
    weight, bias = np.zeros([8, 24], "float32"), np.zeros(24, "float32")
    weight[0, 8] = 1.0  # the first channel of keys is the tokens' channel 0
    bias[0] = 50.0  # of queries, a constant
    attn.qkv.weight.set_value(paddle.to_tensor(weight))
    attn.qkv.bias.set_value(paddle.to_tensor(bias))
    x = -np.ones([1, 3, 2, 8, 3, 8], "float32")
    x[:, :, target // 3, :, target % 3] = 1.0
    x = paddle.to_tensor(x.reshape(1, 3, 16, 24))

    maps = attention_maps(model, x)
    np.testing.assert_allclose(maps[0].regional[0, 0, 0, :, target], 1, atol=1e-6)
    shares = rollout(model, maps, (16, 24))[0]
    of_regions = shares.reshape(6, 2, 8, 3, 8).sum(axis=(2, 4)).reshape(6, 6)
    expected = 0.7 * np.eye(6)  # as worked out above: windows are even inside
    expected[:, target] += 0.3
    np.testing.assert_allclose(of_regions, expected, atol=1e-5)
    assert of_regions.mean(axis=0).argmax() == target
