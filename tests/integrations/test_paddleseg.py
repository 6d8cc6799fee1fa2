"""PaddleSeg trains, evaluates and predicts with this backbone, in the environment of `make test-integrations`."""

import re
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

pytest.importorskip("paddleseg")

from paddleseg.core import evaluate, infer
from paddleseg.core.predict import preprocess
from paddleseg.cvlibs import Config, SegBuilder, manager
from paddleseg.transforms import Compose
from paddleseg.utils import metrics

import data.pictures
from engine import filenames
from engine.system.seeds import seed_everything
from engine.weights import pdparams
from integrations import paddleseg as ours, segmentation, shapes
from models import build_model
from tests.support.errors import one_line_about, refuses
from tests.support.scripts import tool

pytestmark = pytest.mark.slow

CONFIGS = Path(segmentation.__file__).parent / "configs"
MODELS = {"UPerNet": "upernet", "PFPNNet": "semantic_fpn"}
SMALL = {
    "patch_size": 4,
    "embed_dim": [16, 16, 32, 64, 128],
    "depth": [1, 1, 1, 1],
    "num_heads": [1, 2, 4, 8],
    "kernel_sizes": [4, 4, 4, 4],
    "downsampling": ["c", "sc", "sc", "sc"],
}
BEST = "best_model/model.pdparams"  # PaddleSeg's name


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    shapes.write(folder, train=16, val=4, side=96, seed=0)
    return folder


def overrides(pictures, **more):
    """A backbone and a head of few channels, few pictures of 96 x 96, and few steps."""
    backbone = {f"model.backbone.{key}": SMALL[key] for key in ("embed_dim", "depth", "num_heads")}
    values = {
        **backbone,
        "model.channels": 16,
        "batch_size": 4,
        "iters": 40,
        "lr_scheduler.learning_rate": 0.008,
        "lr_scheduler.warmup_iters": 4,
        **{f"{split}_dataset.dataset_root": pictures for split in shapes.SPLITS},
        **{f"{split}_dataset.{split}_path": pictures / f"{split}.txt" for split in shapes.SPLITS},
        **more,
    }
    return [f"{key}={value}" for key, value in values.items()]


def config_of(model):
    return CONFIGS / f"{MODELS[model]}_regionvit_shapes.yml"


def with_head(model):
    return {"model.fpn_inplanes": SMALL["embed_dim"][1:]} if model == "PFPNNet" else {}


@pytest.fixture(scope="module", params=MODELS)
def trained(request, pictures, tmp_path_factory):
    """(the folder of a short training, the model as it was at the end, what was printed)."""
    folder, printed = tmp_path_factory.mktemp(request.param), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paddleseg.utils.logger.info", printed.append)
        arguments = overrides(pictures, **with_head(request.param))
        model = segmentation.train(config_of(request.param), arguments, folder, seed=0)
    assert type(model).__name__ == request.param
    return folder, model.eval(), "\n".join(printed)


def logits(model, height=100, width=133):
    x = np.random.default_rng(0).normal(size=[1, 3, height, width]).astype(np.float32)
    with paddle.no_grad():
        return model(paddle.to_tensor(x))[0].numpy()


def test_a_short_training_learns(trained):
    _, _, printed = trained
    losses = [float(loss) for loss in re.findall(r"\[TRAIN\].* loss: ([\d.]+)", printed)]
    [kappa] = [float(kappa) for kappa in re.findall(r"\[EVAL\].* Kappa: ([\d.]+)", printed)]
    assert len(losses) == 4
    assert losses[-1] < 0.5 * losses[0]
    assert kappa > 0.2  # a map of one class alone: 0


def test_saved_weights_give_the_same_outputs_and_the_same_iou(trained):
    folder, model, printed = trained
    builder = SegBuilder(Config(str(folder / filenames.CONFIG)))
    again = builder.model
    again.eval()
    assert not np.allclose(logits(again), logits(model), atol=1e-2)
    pdparams.load_weights(again, folder / BEST)
    np.testing.assert_array_equal(logits(again), logits(model))
    iou = evaluate(again, builder.val_dataset, print_detail=False)[0]
    assert f"mIoU: {iou:.4f}" in printed


def test_pictures_of_any_size_get_a_map(trained, monkeypatch, capsys, tmp_path):
    folder, model, _ = trained
    transforms = Compose(SegBuilder(Config(str(folder / filenames.CONFIG))).val_transforms)
    sizes = {"wide": (100, 133), "tall": (131, 64)}
    made = {name: shapes.picture(np.random.default_rng(1), 160).image[:h, :w] for name, (h, w) in sizes.items()}
    for name, picture in made.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture[:, :, ::-1])
    arguments = ["-c", folder / filenames.CONFIG, "--weights", folder / BEST, "--output", tmp_path / "maps"]
    tool(monkeypatch, "segment.py", "predict", *arguments, *(tmp_path / f"{name}.png" for name in sizes))
    lines = capsys.readouterr().out.splitlines()[-2:]
    for line, (name, picture) in zip(lines, made.items(), strict=True):
        classes = segmentation.segment(model, transforms, picture)
        assert classes.shape == sizes[name]
        written = cv2.imread(str(tmp_path / f"maps/{name}_map.png"))
        np.testing.assert_array_equal(written[:, :, ::-1], segmentation.over(picture, classes))
        kinds, counts = np.unique(classes, return_counts=True)
        shares = {int(kind): float(share) for kind, share in re.findall(r"(\d): ([\d.]+)%", line)}
        assert shares == pytest.approx(dict(zip(kinds.tolist(), 100 * counts / classes.size, strict=True)), abs=0.06)


def test_a_picture_is_prepared_as_paddleseg_prepares_a_file(trained, pictures):
    folder, model, _ = trained
    transforms = Compose(SegBuilder(Config(str(folder / filenames.CONFIG))).val_transforms)
    file = pictures / "images/val/0000.png"
    prepared = preprocess(str(file), transforms)
    with paddle.no_grad():
        expected, _ = infer.inference(model, prepared["img"], prepared["trans_info"])
    classes = segmentation.segment(model, transforms, data.pictures.read(file))
    np.testing.assert_array_equal(classes, expected.numpy()[0, 0])


def test_a_map_is_drawn_in_a_color_for_each_class_but_the_first():
    picture, classes = np.full([1, 3, 3], 100, np.uint8), np.array([[0, 1, 2]])
    assert segmentation.over(picture, classes).tolist() == [[[50, 50, 50], [114, 50, 50], [50, 114, 50]]]


def test_frozen_stages_do_not_change_and_the_others_do(pictures, tmp_path):
    settings = {"iters": 2, "model.backbone.frozen_stages": 2}
    arguments = overrides(pictures, **settings)
    after = segmentation.train(config_of("UPerNet"), arguments, tmp_path, seed=3).backbone.state_dict()
    seed_everything(3)
    before = SegBuilder(Config(str(config_of("UPerNet")), opts=arguments)).model.backbone.state_dict()
    changed = {name for name in before if not np.array_equal(before[name].numpy(), after[name].numpy())}
    frozen = {name for name in before if re.match(r"model\.(patch_embed|cls_token|layers\.[01]|norm[01])\.", name)}
    assert changed
    assert frozen
    assert not changed & frozen
    assert {name for name in before if ".attn.qkv." in name} - frozen <= changed


@pytest.mark.parametrize("padding_mask", ["exact", "reference"])
@pytest.mark.parametrize("det_norm", [False, True])
def test_the_maps_are_the_models_the_largest_first(det_norm, padding_mask):
    settings = {**SMALL, "det_norm": det_norm, "padding_mask": padding_mask}
    backbone = manager.BACKBONES["RegionViT"](variant="regionvit", **settings)
    model = build_model("regionvit", num_classes=0, **settings)
    model.set_state_dict(backbone.model.state_dict())
    backbone.eval()
    model.eval()
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=[2, 3, 100, 133]).astype(np.float32))
    with paddle.no_grad():
        maps, expected = backbone(x), model.forward_features(x, detection=True)
    assert backbone.feat_channels == SMALL["embed_dim"][1:]
    sides = [(25, 34), (13, 17), (7, 9), (4, 5)]  # 100 / 4, 133 / 4 rounded up, and so on
    assert [tuple(one.shape) for one in maps] == [
        (2, C, *side) for C, side in zip(SMALL["embed_dim"][1:], sides, strict=True)
    ]
    for one, other in zip(maps, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_the_loss_is_the_mean_over_pixels_with_a_label():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=[2, 5, 4, 6]).astype(np.float32), rng.integers(0, 5, [2, 4, 6])
    labels[0, :3] = 255
    log_likelihood = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    n, row, column = np.nonzero(labels != 255)
    expected = -log_likelihood[n, labels[n, row, column], row, column].mean()
    loss = ours.PixelCrossEntropy()(paddle.to_tensor(x), paddle.to_tensor(labels))
    assert loss.shape == [1]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-5)


def test_areas_are_counted_where_there_is_a_label():
    predicted, labels = np.array([[0, 1, 1], [3, 0, 2]]), np.array([[0, 1, 2], [255, 255, 2]])
    arguments = [paddle.to_tensor(each[np.newaxis, np.newaxis]) for each in (predicted, labels)]
    right, in_predicted, in_labels = metrics.calculate_area(arguments[0].astype("int32"), arguments[1], 4)
    assert right.tolist() == [1, 1, 1, 0]
    assert in_predicted.tolist() == [1, 2, 1, 0]
    assert in_labels.tolist() == [1, 1, 2, 0]


def test_paddleseg_still_needs_what_this_module_replaces():
    """Where one of these passes, a replacement has become unnecessary, and a row of docs/*/detection.md too."""
    with pytest.raises(TypeError, match="promotion"):
        manager.LOSSES["CrossEntropyLoss"]()(paddle.zeros([1, 2, 4, 4]), paddle.zeros([1, 4, 4], "int64"))
    with pytest.raises(ValueError, match="axis"):
        paddle.concat([paddle.sum(paddle.ones([3]))])  # as PaddleSeg's calculate_area does
    with pytest.raises(IndexError):
        paddle.ones([3]).mean().numpy()[0]  # as PaddleSeg's `train` does for its log


@pytest.mark.parametrize("name", MODELS.values())
def test_the_configs_for_ade20k_build_and_fit(name):
    builder = SegBuilder(Config(str(CONFIGS / f"{name}_regionvit_ade20k.yml"), opts=["model.channels=32"]))
    builder.model.eval()
    assert logits(builder.model, 64, 96).shape == (1, 150, 64, 96)
    assert len(builder.loss["types"]) == len(builder.model.train()(paddle.zeros([2, 3, 64, 64])))
    assert builder.optimizer.get_lr() < 1e-3


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.backbone.variant=regionvit_huge", "regionvit_huge"),
        ("model.backbone.frozen_stages=9", "frozen_stages"),
        ("model.backbone.nonsense=1", "nonsense"),
        ("model.type=NoSuchNet", "NoSuchNet"),
        ("nosuch.entry=1", "nosuch"),
        ("iterz=1", "iters"),
        ("iters=0", "iters"),
        ("batch_size=100", "batch_size"),
        ("train_dataset.train_path=nowhere.txt", "nowhere.txt"),
    ],
)
def test_a_config_that_cannot_be_used_ends_in_one_line(override, named, pictures, tmp_path, monkeypatch, capsys):
    arguments = [f"-o{each}" for each in [*overrides(pictures), override]]
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "segment.py", "train", "-c", config_of("UPerNet"), *arguments, "--output", tmp_path / "out")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, named)
    assert not list((tmp_path / "out").iterdir())


def test_a_misspelled_key_of_a_file_is_refused(tmp_path):
    (tmp_path / "mine.yml").write_text(f"_base_: {config_of('UPerNet')}\noptimiser: {{type: SGD}}\n", encoding="utf-8")
    with refuses(key="optimiser"):
        segmentation.load(tmp_path / "mine.yml", [])


def test_a_damaged_picture_ends_the_training_and_is_named(tmp_path):
    shapes.write(tmp_path / "data", 8, 1, side=64, seed=0)
    file = tmp_path / "data/images/train/0002.png"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with refuses(place=str(file)):
        segmentation.train(config_of("UPerNet"), overrides(tmp_path / "data"), tmp_path / "out", seed=0)


def test_mistakes_with_files_are_named(pictures, tmp_path):
    cv2.imwrite(str(pictures / "labels/narrow.png"), np.zeros([96, 95], np.uint8))
    (pictures / "labels/text.png").write_text("no picture", encoding="utf-8")
    for wrong in ("lost", "narrow", "text"):
        (tmp_path / "train.txt").write_text(f"images/train/0000.png labels/{wrong}.png\n", encoding="utf-8")
        arguments = overrides(pictures, **{"train_dataset.train_path": tmp_path / "train.txt"})
        with refuses(place=pictures / f"labels/{wrong}.png"):
            segmentation.train(config_of("UPerNet"), arguments, tmp_path / "out", seed=0)
    with refuses(key="--output"):
        segmentation.train(config_of("UPerNet"), overrides(pictures), tmp_path, seed=0)
    paddle.save({"one": paddle.zeros([1])}, str(tmp_path / "other.pdparams"))
    with refuses(pdparams.CheckpointError, place=tmp_path / "other.pdparams"):
        list(segmentation.predict(config_of("UPerNet"), overrides(pictures), tmp_path / "other.pdparams", [], tmp_path))
