import json
import shutil

import numpy as np
import paddle
import pytest
from PIL import Image

import models
from data.normalise import normalise
from engine import filenames
from engine.config.load import load_config
from engine.errors import UserError
from engine.inference import export as export_module, features, program
from engine.inference.export import export
from engine.output.folder import Output
from engine.weights import pdparams
from models import VARIANTS, cpu
from tests.support.device import DEVICE
from tests.support.errors import one_line_about, refuses
from tests.support.runs import MICRO, NANO, ROOT
from tests.support.scripts import tool
from tests.support.steps import follow, in_paddle_inference

FARTHEST = {"paddle": 5e-6, "onnx": 1e-5}  # of the largest number: the rounding of float32, and no more
SIZE = (40, 72)  # neither square nor a multiple of a region's side
NAME = "regionvit_micro_conv_32"
# A stage that keeps the map's sides and channels gives a map of the same shape as the stage before.
SAME = {**NANO, "embed_dim": (16, 16, 16), "num_heads": (1, 1), "downsampling": ("c", "c")}
FOUR = {**NANO, "embed_dim": (16, 16, 32, 64, 128), "depth": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8)}
FOUR |= {"kernel_sizes": (4,) * 4, "downsampling": ("c", "sc", "sc", "sc")}


@pytest.fixture(params=["paddle", pytest.param("onnx", marks=pytest.mark.slow)])
def format(request):
    if request.param == "onnx":
        pytest.importorskip("paddle2onnx", reason="ONNX needs requirements/export.txt")
        pytest.importorskip("onnxruntime", reason="ONNX needs requirements/export.txt")
    return request.param


def variant(monkeypatch, architecture):
    monkeypatch.setitem(VARIANTS, NAME, architecture)


def config_with(*overrides):
    return load_config(MICRO, [f"model.name={NAME}", f"device={DEVICE}", *overrides])


def weights_of(folder, **architecture):
    """Random weights and their model; norms that are not ones and zeros, so that one is not as good as none."""
    paddle.seed(3)
    model = models.build_model(NAME, **architecture)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.set_value(parameter + 0.3 * paddle.randn(parameter.shape))
    model.eval()
    pdparams.save({folder / "model.pdparams": model.state_dict()})
    return folder / "model.pdparams", model


def pictures(count, size=SIZE):
    return np.random.default_rng(1).integers(0, 256, (count, *size, 3), np.uint8)


def maps_of(model, images):
    with paddle.no_grad(), cpu.plain():
        return [each.numpy() for each in model.forward_features(paddle.to_tensor(images), detection=True)]


def exported(folder):
    return program.Exported(folder, program.describe(program.weights_in(folder)), DEVICE)


def assert_equal_the_model(folder, format, model, size=SIZE):
    layer, images = exported(folder), normalise(pictures(7, size))
    for count in (1, 7):
        expected = maps_of(model, images[:count])
        made = layer(paddle.to_tensor(images[:count]))
        assert len(made) == len(expected)
        for ours, theirs in zip(made, expected, strict=True):
            assert list(ours.shape) == list(theirs.shape)
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=FARTHEST[format] * np.abs(theirs).max())


def test_maps_of_a_run_are_exported_with_the_exact_mask(tmp_path, monkeypatch):
    variant(monkeypatch, NANO)
    weights, model = weights_of(tmp_path, padding_mask="exact", num_classes=3)
    export(weights, config_with("model.padding_mask=exact"), "paddle", tmp_path / "made", size=SIZE)
    assert_equal_the_model(tmp_path / "made", "paddle", model)
    assert program.read(tmp_path / "made")["det_norm"] is False


def test_four_maps_with_norms_are_exported_and_named_by_their_stages(tmp_path, monkeypatch, format):
    variant(monkeypatch, FOUR)
    weights, model = weights_of(tmp_path, det_norm=True, num_classes=0)
    export(weights, config_with(), format, tmp_path / "made", size=SIZE)
    assert_equal_the_model(tmp_path / "made", format, model)
    described = program.read(tmp_path / "made")
    assert (described["task"], described["size"], described["det_norm"]) == ("features", list(SIZE), True)
    assert [(each["is"], each["stride"], each["shape"]) for each in described["outputs"]] == [
        ("stage1", 4, [None, 16, 10, 18]),
        ("stage2", 8, [None, 32, 5, 9]),
        ("stage3", 16, [None, 64, 3, 5]),
        ("stage4", 32, [None, 128, 2, 3]),
    ]
    names = [each["name"] for each in described["outputs"]]
    assert names == described["steps"][-1]["outputs"]
    assert len(set(names)) == 4
    if format == "onnx":
        import onnx
        import onnxruntime

        assert names == ["stage1", "stage2", "stage3", "stage4"]
        file = tmp_path / "made" / "inference.onnx"
        onnx.checker.check_model(made := onnx.load(file), full_check=True)
        ends = (*made.graph.input, *made.graph.output)
        assert {end.type.tensor_type.shape.dim[0].dim_param for end in ends} == {"batch"}
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        images = normalise(pictures(2))
        for name, expected in zip(names, maps_of(model, images), strict=True):
            (ours,) = session.run([name], {"images": images})
            np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_the_steps_lead_to_the_maps_of_a_whole_picture(home, tmp_path):
    Image.fromarray(pictures(1, (32, 32))[0]).save(tmp_path / "photo.png")
    folder = home / "paddle_features"
    made = follow(program.read(folder)["steps"], tmp_path / "photo.png", in_paddle_inference(folder))
    model = features.load(home / "model.pdparams", config_with())[0].model.backbone
    for ours, theirs in zip(made, maps_of(model, normalise(pictures(1, (32, 32)))), strict=True):
        np.testing.assert_allclose(ours, theirs[0], atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "backbone.", "backbone.model."])
def test_weights_may_be_those_of_a_whole_detector(tmp_path, monkeypatch, prefix):
    """Which has no head or last norm of ours, norms of `det_norm`, and arrays of its own."""
    variant(monkeypatch, NANO)
    _, model = weights_of(tmp_path, num_classes=0, det_norm=True)
    state = {prefix + key: value for key, value in model.state_dict().items() if not key.startswith("norm.")}
    state |= {"neck.conv.weight": paddle.ones([2, 2])} if prefix else {}
    pdparams.save({tmp_path / "detector.pdparams": state})
    trained, lines = features.load(tmp_path / "detector.pdparams", config_with())
    with paddle.no_grad():
        made = trained.model(paddle.to_tensor(normalise(pictures(2))))
    for ours, theirs in zip(made, maps_of(model, normalise(pictures(2))), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
    assert sum(f"{prefix}*" in line for line in lines) == bool(prefix)


@pytest.mark.parametrize("fault", ["missing", "unexpected"])
def test_weights_that_are_not_the_backbones_are_refused(tmp_path, monkeypatch, fault):
    variant(monkeypatch, NANO)
    weights, model = weights_of(tmp_path, det_norm=True)
    state = model.state_dict()
    if fault == "missing":
        del state["norm1.weight"]
    else:
        state["norm2.weight"] = paddle.ones([32])
    pdparams.save({weights: state})
    with refuses(pdparams.CheckpointError, key="norm1.weight" if fault == "missing" else "norm2.weight", place=weights):
        export(weights, config_with(), "paddle", tmp_path / "made", size=SIZE)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("stage1", lambda maps: maps[::-1]),
        ("stage2", lambda maps: [maps[0], maps[1] * np.float32(1.002)]),
        ("stage2", lambda maps: [maps[0], maps[1] * np.float32("nan")]),
        ("stage1", lambda maps: [maps[0][:, :, :1], maps[1]]),
    ],
)
def test_every_map_is_compared(name, wrong):
    maps = list(np.random.default_rng(0).normal(size=(2, 7, 3, 2, 2)).astype(np.float32))
    images, names = paddle.arange(7).astype("float32"), ["stage1", "stage2"]

    def run(images):
        return [each[: len(images)] for each in maps]

    assert len(export_module._compare(run, images, names, maps, 1e-5)) == 2
    with refuses(UserError, key=name):
        export_module._compare(lambda images: wrong(run(images)), images, names, maps, 1e-5)


def test_two_maps_of_one_shape_that_change_places_are_not_written(tmp_path, monkeypatch):
    variant(monkeypatch, SAME)
    weights, _ = weights_of(tmp_path)
    right = program.RUNNERS["paddle"]

    def swapping(folder, device):
        run = right(folder, device)
        return lambda images: run(images)[::-1]

    monkeypatch.setitem(program.RUNNERS, "paddle", swapping)
    with refuses(UserError, key="stage1"):
        export(weights, config_with(), "paddle", tmp_path / "made", size=SIZE)
    assert not list((tmp_path / "made").glob("*"))


@pytest.fixture(scope="module")
def home(nano, tmp_path_factory):
    """Weights with a config beside them, and their export as a script makes it."""
    folder = tmp_path_factory.mktemp("home")
    weights_of(folder, num_classes=10)
    lines = [f"_base_: {MICRO}", "model:", f"  name: {NAME}", "  num_classes: 10", f"device: {DEVICE}"]
    (folder / "config.yaml").write_text("\n".join([*lines, f"output_dir: {folder}", ""]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        tool(patch, "export.py", "--weights", folder / "model.pdparams", "--features")
    return folder


@pytest.fixture
def run(home, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(home, tmp_path / "run")


def test_a_script_exports_at_the_configs_size_into_a_folder_of_its_own(run):
    assert filenames.EXPORTS["paddle_features"] == "paddle"
    described = program.read(run / "paddle_features")
    assert described["input"]["shape"] == [None, 3, 32, 32]


SCRIPTS = {
    "eval.py": ("--weights",),
    "tools/predict.py": ("photo.png", "--weights"),
    "tools/robustness.py": ("--weights",),
    "tools/show_attention.py": ("photo.png", "--weights"),
    "tools/explore.py": ("--weights",),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_that_needs_classes_refuses_them_in_one_line(run, monkeypatch, capsys, script):
    if script == "tools/explore.py":
        pytest.importorskip("gradio", reason="the explorer needs requirements/explore.txt")
    Image.fromarray(pictures(1)[0]).save(run / "photo.png")
    monkeypatch.chdir(run)
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, ROOT / script, *SCRIPTS[script], run / "paddle_features")
    assert exit.value.code == 2
    printed = capsys.readouterr()
    one_line_about(printed.err.splitlines(True)[-1], run / "paddle_features", "features")
    assert "Traceback" not in printed.err


def test_features_do_not_replace_an_export_with_classes_nor_the_other_way_round(run):
    made = run / "paddle_features"
    with refuses(UserError, key="--output", value="features", place=made):
        export(run / "model.pdparams", config_with("model.num_classes=10"), "paddle", made)
    old = program.read(made)
    del old["task"]  # as an export of before there were features: for classification
    old |= {"classes": None, "num_classes": 10, "image_size": 32, "side": 32}
    (made / filenames.DESCRIPTION).write_text(json.dumps(old), encoding="utf-8")
    with refuses(UserError, key="--output", value="classification", place=made):
        export(run / "model.pdparams", config_with(), "paddle", made, size=SIZE)


def test_an_export_of_features_is_not_lost_to_a_new_run_in_its_folder(run):
    (run / "model.pdparams").unlink()
    with refuses(UserError, key="output_dir", place=run / "paddle_features"):
        Output(run).check()
    Output(run).put_old_run_aside()
    program.describe(program.weights_in(run / filenames.REPLACED / "paddle_features"))


@pytest.mark.parametrize(
    "change",
    [{"task": "poetry"}, {"task": None}, {"outputs": None}, {"outputs": [{"name": 1, "shape": []}]}, {"task": ["x"]}],
)
def test_a_description_that_is_not_one_is_refused(run, change):
    file = run / "paddle_features" / filenames.DESCRIPTION
    file.write_text(json.dumps(program.read(file.parent) | change), encoding="utf-8")
    with refuses(UserError, key=filenames.DESCRIPTION, place=file):
        program.read(file.parent)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--features", "--precision", "int8", "--format", "onnx"),
        ("--features", "--format", "web"),
        ("--size", "64"),
        ("--features", "--size", "31"),
        ("--features", "--size", "64", "4097"),
        ("--features", "--size", "64", "64", "64"),
        ("--features", "--size", "large"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(monkeypatch, capsys, arguments):
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "export.py", "--weights", "none.pdparams", *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err.splitlines(True)[-1], "argument --")


def test_a_lower_precision_is_refused(tmp_path):
    with refuses(UserError, key="--precision", value="int8"):
        export(tmp_path / "none.pdparams", config_with(), "onnx", tmp_path / "made", "int8", size=SIZE)
