"""RegionViT without its head, as detectors and segmenters take it; no library of theirs is needed here."""

import numpy as np
import paddle
import pytest

from engine.errors import UserError
from engine.weights import official, pdparams
from engine.weights.pdparams import CheckpointError
from integrations.backbone import Backbone
from models import build_model
from models.windows import PADDING_MASKS
from tests.support.errors import refuses
from tests.support.models import without_random_values

SMALL = {
    "patch_size": 4,
    "patch_conv_type": "3conv",
    "embed_dim": [16, 16, 32, 64],
    "depth": [1, 1, 2],
    "num_heads": [1, 2, 4],
    "kernel_sizes": [4, 4, 4],
    "downsampling": ["c", "sc", "sc"],
}
STAGES = range(len(SMALL["depth"]))
ODD = (70, 93)  # neither the patches nor the windows divide it


def build(return_idx=(0, 1, 2), **arguments):
    return Backbone("regionvit", return_idx, **{**SMALL, **arguments})


def pictures(height=64, width=64, seed=3):
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal([2, 3, height, width], "float32"))


def values(layer):
    return {key: parameter.numpy() for key, parameter in layer.named_parameters()}


def classifier(**arguments):
    """Weights of a small classifier, by name, that differ from those with which a backbone starts."""
    paddle.seed(7)
    rng = np.random.default_rng(7)
    model = build_model("regionvit", **{**SMALL, "num_classes": 10, **arguments})
    return {key: value + 0.01 * rng.random(value.shape, "float32") for key, value in values(model).items()}


def write(file, arrays):
    paddle.save({key: paddle.to_tensor(value) for key, value in arrays.items()}, str(file))
    return str(file)


# Maps.


@pytest.mark.parametrize("size", [(64, 64), ODD, (32, 33)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("return_idx", [(0, 1, 2), (1, 2), [2]], ids=str)
def test_each_map_has_the_channels_and_the_stride_that_the_backbone_says(return_idx, size):
    backbone = build(return_idx)
    maps = backbone(pictures(*size))
    assert [list(found.shape) for found in maps] == [
        [2, channels, *(-(-side // stride) for side in size)]
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert backbone.strides == [[4, 8, 16][i] for i in return_idx]


@pytest.mark.parametrize("det_norm", [False, True])
def test_maps_are_those_of_the_model(det_norm):
    backbone = build((0, 2), det_norm=det_norm)
    backbone.eval()
    expected = backbone.model.forward_features(pictures(*ODD), detection=True)
    for found, i in zip(backbone(pictures(*ODD)), (0, 2), strict=True):
        assert np.array_equal(found.numpy(), expected[i].numpy())


def test_det_norm_normalizes_every_map_over_its_channels():
    for found in build(det_norm=True)(pictures(*ODD)):
        assert abs(found.mean(axis=1).numpy()).max() < 1e-4


def test_padding_masks_differ_only_where_windows_do_not_divide_the_maps():
    maps = {}
    for mask in PADDING_MASKS:
        paddle.seed(1)
        backbone = build(padding_mask=mask)
        maps[mask] = [[found.numpy() for found in backbone(pictures(*size))] for size in ((64, 64), ODD)]
    (even, odd), (even_exact, odd_exact) = maps["reference"], maps["exact"]
    assert all(np.array_equal(a, b) for a, b in zip(even, even_exact, strict=True))
    assert all(abs(a - b).max() > 1e-4 for a, b in zip(odd, odd_exact, strict=True))


def test_every_parameter_gets_a_gradient():
    backbone = build(det_norm=True)
    sum(found.square().mean() for found in backbone(pictures())).backward()
    assert [key for key, parameter in backbone.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("return_idx", {"return_idx": []}),
        ("return_idx", {"return_idx": [0, 3]}),
        ("return_idx", {"return_idx": [2, 1]}),
        ("return_idx", {"return_idx": [0, True]}),
        ("return_idx", {"return_idx": [0.0, 1]}),
        ("return_idx", {"return_idx": ["1"]}),
        ("pretrained", {"pretrained": 5}),
        ("pretrained_resample", {"pretrained_resample": "no"}),
        ("frozen_stages", {"frozen_stages": "1"}),
        ("frozen_stages", {"frozen_stages": 4}),
        ("frozen_stages", {"frozen_stages": -2}),
        ("frozen_stages", {"frozen_stages": True}),
        ("variant", {"depth": [1]}),
        ("variant", {"no_such": 1}),
    ],
)
def test_impossible_arguments_are_one_line(key, arguments):
    with refuses(UserError, key=key):
        build(**arguments)


# Frozen stages.


@pytest.mark.parametrize("frozen", range(-1, len(STAGES) + 1))
def test_frozen_stages_keep_their_parameters_and_compute_as_in_evaluation(frozen):
    rates = {"drop_path_rate": 0.5, "drop_rate": 0.3, "attn_drop_rate": 0.3}
    backbone = build(frozen_stages=frozen, det_norm=True, recompute=True, **rates)
    above = paddle.nn.Sequential(backbone)  # Paddle's `train` of a layer above does not call that of the backbone
    above.train()
    for parameter in backbone.parameters():
        parameter.set_value(parameter + 0.01)  # no zeros: weight decay alone then changes each
    before = values(backbone)
    optimizer = paddle.optimizer.AdamW(0.01, parameters=[p for p in backbone.parameters() if p.trainable])
    maps = above(pictures())
    if frozen < len(STAGES):
        sum(found.mean() for found in maps).backward()
        optimizer.step()

    kept = tuple(f"model.{name}." for i in range(frozen) for name in (f"layers.{i}", f"norm{i}"))
    kept += ("model.patch_embed.", "model.cls_token.") if frozen >= 0 else ()
    unchanged = {key for key, value in values(backbone).items() if np.array_equal(value, before[key])}
    assert unchanged == {key for key in before if key.startswith(kept)}
    for found, evaluated in zip(maps[: max(frozen, 0)], Evaluated(before, **rates)(pictures()), strict=False):
        assert np.array_equal(found.numpy(), evaluated.numpy())


class Evaluated:
    """Another backbone with the same parameters, in evaluation."""

    def __init__(self, arrays, **arguments):
        self.backbone = build(det_norm=True, **arguments)
        pdparams.assign(dict(self.backbone.named_parameters()), arrays)
        self.backbone.eval()

    def __call__(self, batch):
        return self.backbone(batch)


# Weights.


def test_weights_of_a_run_are_loaded_without_head(tmp_path):
    arrays = classifier()
    backbone = build(pretrained=write(tmp_path / "run.pdparams", arrays))
    loaded = values(backbone.model)
    assert loaded.keys() == {key for key in arrays if not key.startswith(("head.", "norm."))}
    assert all(np.array_equal(loaded[key], arrays[key]) for key in loaded)
    assert any("head.weight" in note and "norm.bias" in note for note in backbone.notes)


def test_norms_of_det_norm_are_new_where_the_file_has_none_and_loaded_where_it_has(tmp_path):
    arrays = classifier()
    backbone = build(pretrained=write(tmp_path / "run.pdparams", arrays), det_norm=True)
    assert np.array_equal(backbone.model.norm2.weight.numpy(), np.ones([1, 64, 1, 1]))
    assert any("norm0.weight" in note for note in backbone.notes)
    arrays = classifier(det_norm=True)
    backbone = build(pretrained=write(tmp_path / "detector.pdparams", arrays), det_norm=True)
    assert np.array_equal(backbone.model.norm2.weight.numpy(), arrays["norm2.weight"])
    with refuses(CheckpointError, key="norm0.weight", value=str(tmp_path / "detector.pdparams")):
        build(pretrained=str(tmp_path / "detector.pdparams"))
    del arrays["norm1.bias"]
    with refuses(CheckpointError, key="norm1.bias"):
        build(pretrained=write(tmp_path / "part.pdparams", arrays), det_norm=True)


def test_a_conversion_of_official_weights_is_loaded(tmp_path):
    with without_random_values():
        arrays = values(build_model("regionvit_tiny_224"))
        converted, _ = official.to_paddle(official.to_torch(arrays)[0], "official")
        file = write(tmp_path / "tiny.pdparams", {key: value + 0.5 for key, value in converted.items()})
        backbone = Backbone("regionvit_tiny_224", (1, 2, 3), det_norm=True, pretrained=file)
    assert np.all(backbone.model.layers[3].block[1].attn.qkv.weight.numpy() == 0.5)


@pytest.mark.parametrize("change", [{"kernel_sizes": [7, 7, 7]}, {"peg": True}], ids=["window", "peg"])
def test_another_window_size_and_a_missing_peg_are_refused_or_resampled(tmp_path, change):
    file = write(tmp_path / "run.pdparams", classifier())
    with refuses(CheckpointError, value=file, place=file) as caught:
        build(pretrained=file, **change)
    assert "pretrained_resample" in str(caught.value)
    backbone = build(pretrained=file, pretrained_resample=True, **change)
    assert any("resampled" in note or "0 at first" in note for note in backbone.notes)
    assert len(backbone(pictures())) == 3


@pytest.mark.parametrize("kind", ["missing", "not weights", "not finite", "another model"])
def test_weights_that_cannot_be_used_are_one_line(tmp_path, kind):
    file, arrays = tmp_path / "run.pdparams", classifier()
    if kind == "not weights":
        file.write_bytes(b"no weights")
    elif kind == "not finite":
        arrays["patch_embed.proj.0.bias"][0] = np.nan
        write(file, arrays)
    elif kind == "another model":
        write(file, classifier(depth=[1, 2, 2]))
    with refuses(CheckpointError, value=str(file), place=file):
        build(pretrained=str(file))
