"""RegionViT as a backbone of PaddleDetection: built by its configs, trained, saved, loaded, and looking at pictures."""

import cv2
import numpy as np
import paddle
import pytest

pytest.importorskip("ppdet")

from ppdet.core.workspace import create
from ppdet.data.transform import PadBatch

from engine.errors import UserError
from engine.weights.pdparams import CheckpointError
from integrations import detection, shapes
from tests.support.device import DEVICE
from tests.support.errors import refuses
from tests.support.scripts import TOOLS, tool

pytestmark = pytest.mark.slow
CONFIGS = TOOLS.parent / "integrations" / "configs"
EPOCHS = {"retinanet": 12, "mask_rcnn": 6}
TRAIN, BATCH = 8, 2
ODD = (100, 133)  # nothing divides it


def config(name, data="shapes"):
    return CONFIGS / f"{name}_regionvit_{data}.yml"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    shapes.write(folder, TRAIN, 4, side=128, seed=0)
    return folder


def overrides(pictures, *more):
    return [*(f"{name}Dataset.dataset_dir={pictures}" for name in ("Train", "Eval", "Test")), *more]


@pytest.fixture(scope="module", params=EPOCHS)
def trained(request, pictures, tmp_path_factory):
    """Return (name of the detector, trained model, losses, folder)."""
    name, output = request.param, tmp_path_factory.mktemp(request.param)
    more = [f"epoch={EPOCHS[name]}", "snapshot_epoch=100", f"TrainReader.batch_size={BATCH}"]
    model, losses = detection.train(config(name), overrides(pictures, *more), output, evaluate=True, seed=0)
    model.eval()
    return name, model, losses, output


def detector(trained, pictures, *more):
    name, _, _, output = trained
    return detection.Detector(config(name), overrides(pictures, *more), output / "model_final.pdparams")


def odd_picture():
    """Return a picture with shapes whose sides nothing divides."""
    return shapes.picture(np.random.default_rng(1), max(ODD)).image[: ODD[0], : ODD[1]]


# Whole detectors.


def test_the_loss_falls(trained):
    name, _, losses, _ = trained
    assert len(losses) == EPOCHS[name] * TRAIN // BATCH
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])


def test_saved_weights_give_the_same_outputs(trained, pictures):
    _, model, _, _ = trained
    loaded = detector(trained, pictures)
    batch = loaded.prepared(odd_picture())
    with paddle.no_grad():
        expected, found = model(dict(batch)), loaded.model(dict(batch))
    assert len(expected["bbox"]) > 3
    for key in expected:
        assert np.array_equal(found[key].numpy(), expected[key].numpy())


def test_evaluation_measures_boxes_and_masks_and_keeps_its_files_together(trained):
    name, _, _, output = trained
    kinds = ["bbox", "mask"] if name == "mask_rcnn" else ["bbox"]
    weights = [f"{which}.pd{kind}" for which in ("best_model", "model_final") for kind in ("params", "opt")]
    assert {file.name for file in output.iterdir()} == {*weights, *(f"{kind}.json" for kind in kinds)}


def test_a_picture_of_any_size_comes_back_with_what_was_found(trained, pictures, tmp_path, monkeypatch, capsys):
    name, _, _, output = trained
    picture, photo = odd_picture(), tmp_path / "photo.png"
    cv2.imwrite(str(photo), picture[:, :, ::-1])
    found = detector(trained, pictures)(picture)
    for detected in found:
        assert np.all((detected.box >= 0) & (detected.box <= [*ODD[::-1]] * 2))
        assert (detected.mask is None) == (name == "retinanet")
        assert detected.mask is None or detected.mask.shape == ODD

    threshold = np.median([detected.score for detected in found])
    arguments = ["-c", config(name), *(part for value in overrides(pictures) for part in ("-o", value))]
    arguments += ["--weights", output / "model_final.pdparams", "--output", tmp_path / "out", "--device", DEVICE]
    tool(monkeypatch, "detect.py", "predict", *arguments, "--threshold", threshold, photo)
    lines = capsys.readouterr().out.splitlines()
    lines = lines[lines.index(f"{photo}: {len(lines) - 1} found -> {tmp_path / 'out' / 'photo_detections.png'}") :]
    likely = [detected for detected in found if detected.score >= threshold]
    assert [line.split()[0] for line in lines[1:]] == [shapes.CLASSES[detected.kind] for detected in likely]
    drawn = cv2.imread(str(tmp_path / "out" / "photo_detections.png"))
    assert drawn.shape[:2] == tuple(3 * side for side in ODD)


def test_nothing_found_is_no_error(trained, pictures):
    key = "RetinaHead.nms" if trained[0] == "retinanet" else "BBoxPostProcess.nms"
    assert detector(trained, pictures, f"{key}.score_threshold=1.0")(np.zeros([64, 64, 3], np.uint8)) == []


@pytest.mark.parametrize(
    ("key", "override"),
    [
        ("epochs", "epochs=1"),
        ("RetinaHead.prior", "RetinaHead.prior=1"),
        ("variant", "RegionViT.no_such=1"),
        ("frozen_stages", "RegionViT.frozen_stages=9"),
        ("pretrained", "RegionViT.pretrained=no_such.pdparams"),
        ("TrainDataset.anno_path", "TrainDataset.dataset_dir=no_such_folder"),
        ("--config", "RetinaHead.nms=NoSuchLayer"),
        ("--config", "epoch=many"),
        ("epoch", "epoch=0"),
        ("epoch", "TrainReader.batch_size=100"),
        ("num_classes", "num_classes=2"),
    ],
)
def test_a_config_that_cannot_be_used_is_one_line(key, override, pictures, tmp_path):
    with refuses(UserError, key=key):
        detection.train(config("retinanet"), overrides(pictures, override), tmp_path, evaluate=False, seed=0)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("epochs", "epochs: 3"),
        ("RegionVit", "RegionVit: {det_norm: false}"),
        ("batchsize", "TrainReader: {batchsize: 3}"),
        ("--config", "epoch: !!python/object/apply:len [[1]]"),
    ],
)
def test_a_file_with_a_misspelled_key_or_with_code_is_refused(key, text, tmp_path):
    (tmp_path / "mine.yml").write_text(f"_BASE_: [{config('retinanet')}]\n{text}\n", encoding="utf-8")
    with refuses(UserError, key=key):
        detection.load(tmp_path / "mine.yml")


def test_a_value_that_others_refer_to_may_have_any_name(tmp_path):
    text = f"_BASE_: [{config('retinanet')}]\ninput_size: &size 3\nTrainReader: {{batch_size: *size}}\n"
    (tmp_path / "mine.yml").write_text(text, encoding="utf-8")
    assert detection.load(tmp_path / "mine.yml")["TrainReader"]["batch_size"] == 3


def test_two_overrides_below_one_key_both_count():
    settings = detection.load(
        config("retinanet"), ["RetinaHead.nms.nms_top_k=7", "RetinaHead.nms.keep_top_k=5", "RetinaHead.nms.name=x"]
    )
    assert settings["RetinaHead"]["nms"] == {
        **{"name": "x", "nms_top_k": 7, "keep_top_k": 5},
        **{"score_threshold": 0.05, "nms_threshold": 0.5},
    }


@pytest.mark.parametrize("kept", [0.0, 0.5], ids=["empty", "half"])
def test_a_damaged_picture_ends_the_training_and_is_named(kept, tmp_path):
    shapes.write(tmp_path / "data", 4, 1, side=64, seed=0)
    file = tmp_path / "data/images/train/0002.png"
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with refuses(UserError, place=file):
        detection.train(config("retinanet"), overrides(tmp_path / "data"), tmp_path / "out", evaluate=False, seed=0)


@pytest.mark.parametrize(("height", "width"), [(1, 1000), (1000, 1), (1, 1), (2000, 2000)])
def test_what_is_drawn_is_never_huge(height, width):
    drawn = detection.draw(np.zeros([height, width, 3], np.uint8), [], shapes.CLASSES)
    assert max(drawn.shape[:2]) <= max(height, width, 4 * detection.READABLE)


def test_weights_of_another_model_are_refused(trained, pictures):
    with refuses(CheckpointError, place=trained[3] / "model_final.pdparams"):
        detector(trained, pictures, "RegionViT.depth=[1, 2, 2, 1]")


# The backbone.


def backbone(name, data="shapes", **arguments):
    """Return the backbone of a config."""
    settings = detection.load(config(name, data))
    settings["RegionViT"].update(arguments)
    paddle.seed(0)
    return create("RegionViT")


def inputs(height, width):
    return {"image": paddle.to_tensor(np.random.default_rng(3).standard_normal([1, 3, height, width], "float32"))}


@pytest.mark.parametrize("data", ["shapes", "tiny"])
@pytest.mark.parametrize("name", EPOCHS)
def test_maps_have_the_shapes_that_the_neck_and_the_heads_are_built_for(name, data):
    layer = backbone(name, data)
    strides = [8, 16, 32] if name == "retinanet" else [4, 8, 16, 32]
    assert [shape.stride for shape in layer.out_shape] == strides
    for found, shape in zip(layer(inputs(96, 128)), layer.out_shape, strict=True):
        assert list(found.shape) == [1, shape.channels, 96 // shape.stride, 128 // shape.stride]


@pytest.mark.parametrize("padding_mask", ["reference", "exact"])
@pytest.mark.parametrize("name", EPOCHS)
def test_pictures_of_odd_sides_are_padded_as_padbatch_does_and_pass_the_neck(name, padding_mask):
    layer = backbone(name, padding_mask=padding_mask)
    picture = inputs(*ODD)
    maps = layer(picture)
    (padded,) = PadBatch(32)([{"image": picture["image"].numpy()[0]}])
    assert padded["image"].shape == (3, 128, 160)
    for found, expected in zip(maps, layer({"image": paddle.to_tensor(padded["image"][None])}), strict=True):
        assert np.array_equal(found.numpy(), expected.numpy())
    neck = create("FPN", input_shape=layer.out_shape)
    assert [list(found.shape[2:]) for found in neck(maps)[: len(maps)]] == [list(found.shape[2:]) for found in maps]


def test_a_step_of_their_optimizer_leaves_frozen_stages_alone_and_decays_no_norm():
    layer = backbone("mask_rcnn", frozen_stages=2)
    for parameter in layer.parameters():
        parameter.set_value(parameter + 1)
    before = {key: parameter.numpy() for key, parameter in layer.named_parameters()}
    optimizer = create("OptimizerBuilder")(0.1, layer)
    (sum(found.sum() for found in layer(inputs(64, 64))) * 0).backward()  # only weight decay is left
    optimizer.step()
    for key, parameter in layer.named_parameters():
        frozen = any(part in key for part in ("patch_embed", "cls_token", "layers.0.", "layers.1.", "norm0.", "norm1."))
        decayed = not frozen and "norm" not in key
        factor = 1 - 0.1 * 0.05 if decayed else 1
        np.testing.assert_allclose(parameter.numpy(), before[key] * factor, rtol=1e-6, err_msg=key)
