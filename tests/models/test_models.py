import functools

import numpy as np
import paddle
import pytest

from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.training.step import train_step
from models import VARIANTS, build_model, regionvit
from models.layers import DropPath
from models.windows import partition
from tests.support.device import GOLDEN
from tests.support.reference import (
    KINDS,
    PAPER,
    REFERENCE,
    STATE_DICTS,
    fill,
    free_model,
    golden_model,
    narrow,
    picture,
    unfilled,
)
from tests.support.states import new_state

CASES = sorted(REFERENCE["cases"], key=lambda case: case["variant"])


def case_id(case):
    return f"{case['variant']}-{case['padding_mask']}-{case['height']}x{case['width']}"


def case_of(case):
    long = case["variant"] in ("base_w14", "base_w14_peg") and case_id(case) != "base_w14_peg-reference-224x224"
    return pytest.param(case, id=case_id(case), marks=[pytest.mark.slow] if long else [])


@functools.lru_cache(maxsize=1)
def model_of(variant, salt):
    return golden_model({"variant": variant, "salt": salt})


@pytest.mark.parametrize("case", [case_of(case) for case in CASES])
def test_matches_official_implementation(case):
    model = model_of(case["variant"], case["salt"])
    for stage in model.layers:
        stage.padding_mask = case["padding_mask"]
    assert sum(int(p.size) for p in model.parameters()) == case["num_params"]
    with paddle.no_grad():
        logits = model(picture(case["input_seed"], case["height"], case["width"])).numpy()
    np.testing.assert_allclose(logits, case["logits"], rtol=0, atol=GOLDEN)


def test_golden_cases_cover_every_variant_of_the_paper():
    sizes = {"tiny", "small", "medium", "base", "small_w14", "small_w14_peg", "base_w14", "base_w14_peg"}
    assert {case["variant"] for case in CASES} == sizes
    assert set(PAPER) == {f"regionvit_{size}_224" for size in sizes}


@pytest.mark.parametrize(
    "case", REFERENCE["features"], ids=lambda case: f"{case['variant']}-det_norm={case['det_norm']}"
)
def test_feature_maps_match_official_implementation(case):
    model = golden_model(case, det_norm=case["det_norm"])
    with paddle.no_grad():
        maps = model.forward_features(picture(case["input_seed"], case["height"], case["width"]), detection=True)
    assert len(maps) == len(case["maps"])
    for ours, golden in zip(maps, case["maps"], strict=True):
        ours = ours.numpy()
        assert list(ours.shape) == golden["shape"]
        corner = np.concatenate([ours[0, :3, 0, 0], ours[1, -3:, -1, -1]])
        np.testing.assert_allclose(ours.mean(dtype="float64"), golden["mean"], rtol=0, atol=GOLDEN)
        np.testing.assert_allclose(corner, golden["corner"], rtol=0, atol=GOLDEN)


def test_training_trajectory_matches_official_implementation():
    golden = REFERENCE["trajectory"]
    model = fill(free_model(), golden["salt"])
    model.train()
    criterion = LabelSmoothingCrossEntropy(golden["label_smoothing"])
    state = new_state(
        model, learning_rate=golden["lr"], weight_decay=golden["weight_decay"], total_steps=golden["steps"]
    )
    losses, rates = [], []
    for step in range(golden["steps"]):
        seed = golden["input_seed"] + step
        labels = np.random.RandomState(seed).randint(0, 10, golden["batch"])
        rates.append(state.optimizer.get_lr())
        batch = picture(seed, 224, 224, golden["batch"]), paddle.to_tensor(labels)
        loss, *_ = train_step(state, [batch], criterion)
        losses.append(loss.item())
    model.eval()
    with paddle.no_grad():
        logits = model(picture(golden["input_seed"] + 999, 224, 224)).numpy()
    np.testing.assert_allclose(losses, golden["losses"], rtol=0, atol=GOLDEN)
    np.testing.assert_allclose(rates, golden["lrs"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(logits, golden["final_logits"], rtol=0, atol=5 * GOLDEN)


@pytest.mark.parametrize("variant", STATE_DICTS)
def test_state_dict_has_the_official_names_shapes_and_order(variant):
    state = unfilled(f"regionvit_{variant}_224").state_dict()
    assert [(key, value.shape) for key, value in state.items()] == list(STATE_DICTS[variant].items())


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_has_a_gradient(name):
    check_gradients(narrow(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_has_a_gradient_at_full_width(name):
    check_gradients(fill(unfilled(name)))


def check_gradients(model):
    model.train()
    LabelSmoothingCrossEntropy()(model(picture(7, 40, 72)), paddle.to_tensor([3, 8])).backward()
    stages = len(model.layers)
    unused = f"layers.{stages - 1}.block.{len(model.layers[-1].block) - 1}.attn.rel_pos"
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{key} has no gradient"
        largest = parameter.grad.abs().max().item()
        assert np.isfinite(largest)
        assert largest == 0 if key == unused else largest > 0, f"{key}: largest gradient {largest}"


@pytest.mark.parametrize("padding_mask", ["reference", "exact"])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 32), (91, 128)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", KINDS)
def test_accepts_any_picture_size(name, size, padding_mask):
    model = small_model(name)
    for stage in model.layers:
        stage.padding_mask = padding_mask
    with paddle.no_grad():
        logits = model(picture(1, *size, batch=1)).numpy()
    assert logits.shape == (1, 10)
    assert np.isfinite(logits).all()


@functools.lru_cache(maxsize=1)
def small_model(name):
    return narrow(name)


@pytest.mark.parametrize("size", [(50, 75), (225, 301)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_exact_mask_keeps_padding_out(size, monkeypatch):
    """Under the exact mask real tokens do not depend on what the padding holds; under the reference's they do."""
    clean, dirty = {}, {}
    for kind in ("exact", "reference"):
        model = fill(free_model(padding_mask=kind, depth=[1, 1, 1, 1]))
        with paddle.no_grad():
            clean[kind] = model.forward_features(picture(3, *size), detection=True)
            with monkeypatch.context() as patch:
                patch.setattr(regionvit, "partition", partition_with_dirty_padding)
                dirty[kind] = model.forward_features(picture(3, *size), detection=True)
    distance = {
        kind: max((a - b).abs().max().item() for a, b in zip(clean[kind], dirty[kind], strict=True)) for kind in clean
    }
    assert distance["exact"] < 1e-5
    assert distance["reference"] > 1e-2


def partition_with_dirty_padding(local, grid, ws):
    """As `partition`, but the padding differs between channels: layer norm would flatten a constant to zero."""
    pad = [0, grid[1] * ws - local.shape[3], 0, grid[0] * ws - local.shape[2]]
    channels = paddle.arange(local.shape[1], dtype="float32").reshape([1, -1, 1, 1])
    is_padding = 1 - paddle.nn.functional.pad(paddle.ones_like(local), pad)
    return partition(paddle.nn.functional.pad(local, pad) + channels * is_padding, grid, ws)


@pytest.mark.parametrize("name", VARIANTS)
def test_channels_and_strides_of_the_maps_are_known_beforehand(name):
    check_maps(unfilled(name), 64, 96)


@pytest.mark.parametrize(
    ("conv", "patch", "modes", "strides"),
    [("1conv", 2, ("c", "c", "sc"), [2, 2, 4]), ("linear", 3, ("sc", "c", "sc"), [6, 6, 12])],
)
def test_channels_and_strides_of_a_model_of_ones_own(conv, patch, modes, strides):
    dims = [8, *(8 * stride // patch for stride in strides)]
    model = free_model(
        patch_conv_type=conv,
        patch_size=patch,
        embed_dim=dims,
        depth=[1] * 3,
        num_heads=[1] * 3,
        kernel_sizes=[4] * 3,
        downsampling=modes,
    )
    assert model.feature_strides == strides
    check_maps(model, 48, 96)


def check_maps(model, height, width):
    with paddle.no_grad():
        maps = model.forward_features(picture(1, height, width, batch=1), detection=True)
    expected = zip(model.feature_channels, model.feature_strides, strict=True)
    assert [m.shape for m in maps] == [[1, C, height // stride, width // stride] for C, stride in expected]


def test_without_classes_gives_features():
    assert free_model(num_classes=0)(picture(1, 64, 64)).shape == [2, 128]


@pytest.mark.parametrize("name", ["regionvit_micro_32", "regionvit_micro_conv_32"])
def test_micro_is_small_and_native_to_32_pixels(name):
    model = build_model(name, num_classes=10)
    model.eval()
    assert sum(int(p.size) for p in model.parameters()) < 2_000_000
    maps = model.forward_features(picture(1, 32, 32), detection=True)
    assert [list(m.shape[2:]) for m in maps] == [[8, 8], [4, 4]]  # whole windows of 4: nothing is padded


@pytest.fixture(scope="module")
def micro_of_seed_42():
    paddle.seed(42)
    return dict(build_model("regionvit_micro_32", num_classes=10).named_parameters())


def test_same_seed_gives_same_initial_weights():
    states = []
    for _ in range(2):
        paddle.seed(5)
        states.append({k: v.numpy() for k, v in free_model().state_dict().items()})
    for key in states[0]:
        np.testing.assert_array_equal(states[0][key], states[1][key])


@pytest.mark.parametrize(
    ("name", "first", "deviation"),
    [
        ("patch_embed.proj.0.weight", [0.0768628567, 0.0820522830, -0.1262839884], 0.259709),  # Paddle's default
        ("cls_token.proj.weight", [-0.0010807420, 0.0361474864, -0.0078249201], 0.050982),
        ("layers.0.block.1.attn.rel_pos", [0.0036093662, -0.0093827406, 0.0244955774], 0.017390),
        ("layers.0.block.1.attn.qkv.weight", [-0.0264168233, -0.0151483845, 0.0241787340], 0.017572),
        ("head.weight", [0.0102716079, 0.0226741172, -0.0076579996], 0.017430),
    ],
)
def test_a_seed_gives_the_initial_weights_of_older_runs_on_every_paddle(micro_of_seed_42, name, first, deviation):
    weights = micro_of_seed_42[name].numpy()
    np.testing.assert_allclose(weights.ravel()[:3], first, rtol=1e-5)
    assert weights.std() == pytest.approx(deviation, rel=1e-4)


def test_initialization_is_the_notebooks():
    """Linear weights and rel_pos: 0.02 cut at two deviations; norms 1 and 0; all other biases 0."""
    paddle.seed(1)
    for key, value in build_model("regionvit_tiny_224", num_classes=10).state_dict().items():
        value = value.numpy()
        norm_weight = key.endswith("weight") and (value.ndim == 1 or value.shape[0] == 1)
        if value.ndim == 2:
            assert abs(value).max() <= 0.04 + 1e-7, key
            assert value.size < 3000 or value.std() == pytest.approx(0.0176, abs=0.001), key
        elif norm_weight:
            assert (value == 1).all(), key
        elif key.endswith("bias"):
            assert (value == 0).all(), key


def test_dropout_and_drop_path_act_in_training_only():
    model = fill(free_model(drop_rate=0.3, attn_drop_rate=0.3, drop_path_rate=0.5))
    plain = fill(free_model())
    x = picture(1, 64, 64)
    np.testing.assert_array_equal(model(x).numpy(), plain(x).numpy())
    model.train()
    assert not np.allclose(model(x).numpy(), plain(x).numpy(), atol=1e-3)


def test_drop_path_drops_whole_rows_and_scales_the_rest():
    paddle.seed(0)
    drop = DropPath(0.25)
    x = paddle.rand([400, 3, 5]) + 1
    ratio = (drop(x) / x).numpy()
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1], ratio.shape), rtol=1e-6)
    kept = ratio[:, 0, 0] > 0
    np.testing.assert_allclose(ratio[kept], 1 / 0.75, rtol=1e-6)
    assert 0.65 < kept.mean() < 0.85
    drop.eval()
    np.testing.assert_array_equal(drop(x).numpy(), x.numpy())


@pytest.mark.parametrize("rate", [3 / 26, 0.25, 27 / 130])
def test_the_rows_that_drop_path_keeps_are_divided_to_the_same_bits_on_every_paddle(rate):
    paddle.seed(0)
    rows = DropPath(rate)(paddle.ones([50, 1])).numpy()
    np.testing.assert_array_equal(rows[rows > 0], np.float32(1) / np.float32(1 - rate))


def test_drop_path_rises_linearly_over_all_encoders():
    model = free_model(drop_path_rate=0.4)
    rates = [encoder.drop_path.rate for stage in model.layers for encoder in stage.block[1:]]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"num_heads": [3, 2, 4, 8]}, ["embed_dim 16", "num_heads 3"]),
        ({"depth": [1, 1, 2]}, ["embed_dim has 5 entries", "'depth': 3"]),
        ({"patch_size": 2}, ["3conv", "patch_size 4", "1conv"]),
        ({"patch_conv_type": "2conv"}, ["'2conv'", "3conv, 4conv, 1conv, linear"]),
        ({"padding_mask": "none"}, ["'none'", "reference, exact"]),
        ({"downsampling": ["c", "s", "sc", "sc"]}, ["'s'", "c, sc"]),
        ({"downsampling": ["c", "c", "sc", "sc"]}, ["from 16 to 32", "sc"]),
        ({"embed_dim": [16, 16, 24, 64, 128]}, ["from 16 to 24", "multiple"]),
        ({"kernel_sizes": [7, 7, 14, 14]}, ["[7, 7, 14, 14]", "same window"]),
        ({"depth": [1, 0, 1, 1]}, ["depth [1, 0, 1, 1]", "1 or more"]),
        ({"depth": [1, 1.5, 1, 1]}, ["depth [1, 1.5, 1, 1]", "whole numbers"]),
        ({"depth": 2}, ["depth 2", "a list"]),
        ({"embed_dim": [16, 16, "32", 64, 128]}, ["embed_dim", "whole numbers"]),
        ({"embed_dim": 64}, ["embed_dim 64", "a list"]),
        ({"patch_size": 0}, ["patch_size 0", "1 or more"]),
        ({"in_chans": 0}, ["in_chans 0", "1 or more"]),
        ({"num_classes": -1}, ["num_classes -1", "0 or more"]),
        ({"mlp_ratio": 0}, ["mlp_ratio 0", "above 0"]),
        ({"drop_rate": "x"}, ["drop_rate 'x'", "below 1"]),
        ({"embed_dim": [16], "depth": [], "num_heads": [], "kernel_sizes": [], "downsampling": []}, ["depth []"]),
        ({"drop_path_rate": 1.0}, ["drop_path_rate 1.0", "below 1"]),
        ({"heads": [1, 2, 4, 8]}, ["'heads'", "num_heads"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_shape_that_cannot_work_is_refused(overrides, words):
    with pytest.raises(ValueError) as error:
        free_model(**overrides)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_an_unknown_name_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError) as error:
        build_model("regionvit_tinny_224")
    assert "did you mean 'regionvit_tiny_224'" in str(error.value)
    assert all(name in str(error.value) for name in VARIANTS)


def test_a_free_model_has_to_be_described_in_full():
    with pytest.raises(ValueError, match="needs depth, num_heads, kernel_sizes, downsampling too"):
        build_model("regionvit", embed_dim=[16, 16])
