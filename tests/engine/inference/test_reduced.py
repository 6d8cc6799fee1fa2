import itertools
import json

import numpy as np
import pytest
from PIL import Image

from common.machine import has_vnni
from data import DataError
from engine import filenames
from engine.errors import UserError
from engine.inference import cost, export as export_module, program, reduced
from engine.inference.export import export
from engine.inference.steps import steps
from engine.inference.trained import find, load
from tests.support import archives
from tests.support.errors import one_line_about, refuses
from tests.support.scripts import tool
from tests.support.steps import follow, in_paddle_inference
from tests.support.trained import write_run

REDUCED = [precision for precision in reduced.PRECISIONS if precision != reduced.FLOAT32]


def needs_onnx():
    for package in ("paddle2onnx", "onnxruntime", "ml_dtypes"):
        pytest.importorskip(package, reason="ONNX needs requirements/export.txt")


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(cost, "SECONDS", 0.01)
    monkeypatch.setattr(cost, "PAUSE", 0)


@pytest.fixture(scope="module")
def weights(nano, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reduced")
    archive = archives.write(folder / "cifar.tar.gz", archives.members(train=40, test=50))
    return write_run(folder / "run", archive) / "best_model.pdparams"


def found(weights, *overrides):
    path, config, _ = find(weights, None, overrides)
    return path, config


def compared(lost):
    """What `cost.measure` returns of an export that loses so many points."""
    rates = [{"batch": 1, "float32": 10.0, "reduced": 20.0, "ratio": 2.0}]
    return {
        "images": 200,
        "split": "test set",
        "top1": {"float32": 0.9, "reduced": 0.9 - lost / 100},
        "points_lost": lost,
        "logits": {"largest_difference": 0.1, "mean_difference": 0.01, "largest": 4.0},
        "images_per_second": rates,
        "cpu_has_vnni": None,
    }


def test_weights_of_a_convolution_are_off_by_half_a_level_at_most():
    weights = np.random.default_rng(0).normal(size=(5, 4, 3, 3)).astype(np.float32)
    weights[2] = 0
    levels, scale = reduced.quantized(weights)
    assert (levels.dtype, levels.shape, scale.shape) == (np.int8, weights.shape, (5, 1, 1, 1))
    assert (np.abs(levels * scale - weights) <= scale / 2 * 1.001).all()
    assert (np.abs(levels).max(axis=(1, 2, 3)) == [127, 127, 0, 127, 127]).all()


@pytest.mark.parametrize(
    ("info", "has"),
    [
        ("flags\t\t: sse avx2 avx512_vnni\n", True),
        ("flags\t\t: avx2 avx_vnni\n", True),
        ("flags\t\t: avx2 avx512f\nbugs: avx_vnni\n", False),
        ("Features\t: asimddp\n", None),
        ("", None),
    ],
)
def test_vnni_is_read_from_the_flags(info, has):
    assert has_vnni(info) is has


@pytest.mark.parametrize(("lost", "allowed"), [(0.5, 0.5), (-1, 0), (0.6, 1)])
def test_an_allowed_loss_is_not_refused(lost, allowed):
    cost.check(compared(lost), allowed)


@pytest.mark.parametrize(("lost", "allowed"), [(0.51, 0.5), (0.1, 0), (float("nan"), 100)])
def test_a_larger_loss_is_refused(lost, allowed):
    with refuses(UserError, key="--most-lost"):
        cost.check(compared(lost), allowed)


def test_two_programs_take_turns():
    calls = []
    rate = cost.speed(lambda _: calls.append("plain"), lambda _: calls.append("reduced"), np.ones(16))
    assert rate["batch"] == 16
    assert rate["ratio"] == pytest.approx(rate["reduced"] / rate["float32"])
    changes = sum(a != b for a, b in itertools.pairwise(calls))
    assert changes == 2 * cost.TURNS + 1


def test_only_onnx_has_a_lower_precision(weights, tmp_path):
    with refuses(UserError, key="--precision", value="int8"):
        export(*found(weights), "paddle", tmp_path / "int8", "int8")
    assert not (tmp_path / "int8").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--precision", "int8"),
        ("--precision", "int4", "--format", "onnx"),
        ("--most-lost", "1"),
        ("--precision", "int8", "--format", "onnx", "--most-lost", "-1"),
        ("--precision", "int8", "--format", "onnx", "--most-lost", "nan"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_a_line(weights, monkeypatch, capsys, arguments):
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "export.py", "--weights", weights, *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "--most-lost" if "--most-lost" in arguments else "--precision")


def test_without_pictures_to_compare_on_nothing_is_written(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "check_installed", lambda *_: None)
    with refuses(UserError, place="none.tar.gz") as caught:
        export(*found(weights, "data.file=none.tar.gz"), "onnx", tmp_path / "int8", "int8")
    assert "--precision int8" in str(caught.value)
    assert isinstance(caught.value.__cause__, DataError)
    assert not (tmp_path / "int8").exists()


def test_a_folder_with_another_precision_is_not_exported_into(weights, tmp_path):
    config = found(weights)[1]
    export(weights, config, "paddle", tmp_path)
    description = program.read(tmp_path)
    assert program.precision_of(description) == "float32"
    description["precision"] = "int8"
    (tmp_path / filenames.DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    with refuses(UserError, key="--output", value="int8", place=tmp_path):
        export(weights, config, "paddle", tmp_path)


def test_the_setting_for_paddle_2s_programs_is_refused(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module.paddle, "__version__", "3.3.1")
    monkeypatch.setattr(export_module, "values", lambda name: {name: False})
    with refuses(UserError, key="FLAGS_enable_pir_api"):
        export(*found(weights), "paddle", tmp_path / "paddle")


@pytest.mark.slow
@pytest.mark.parametrize("precision", REDUCED)
def test_a_lower_precision_is_compared_smaller_and_read_as_any_other(weights, tmp_path, monkeypatch, capsys, precision):
    needs_onnx()
    tool(
        monkeypatch,
        *("export.py", "--weights", weights, "--format", "onnx", "--precision", precision),
        *("--most-lost", "100", "--output", tmp_path / precision),
    )
    printed = capsys.readouterr().out
    described = program.describe(program.weights_in(tmp_path / precision))
    made = described["compared_with_float32"]
    assert described["precision"] == precision
    assert made["images"] == 50
    assert 0 < made["logits"]["largest_difference"] < 0.2 * made["logits"]["largest"]
    assert made["bytes"]["reduced"] == (tmp_path / precision / "inference.onnx").stat().st_size
    assert made["bytes"]["reduced"] < made["bytes"]["float32"]
    assert [rate["batch"] for rate in made["images_per_second"]] == [1, 16]
    assert f"{made['points_lost']:.2f}" in printed
    trained = load(*found(tmp_path / precision))
    assert precision in trained.runtime
    import onnx

    onnx.checker.check_model(onnx.load(tmp_path / precision / "inference.onnx"), full_check=True)
    images = trained.dataset.val.images[:20]
    expected = load(*found(weights)).probabilities(images)
    np.testing.assert_allclose(trained.probabilities(images), expected, atol=0.05)
    assert not np.array_equal(trained.probabilities(images), expected)


@pytest.mark.slow
def test_the_weights_of_products_and_convolutions_are_int8(weights, tmp_path):
    needs_onnx()
    import onnx

    export(*found(weights), "onnx", tmp_path / "int8", "int8", most_lost=100)
    model = onnx.load(tmp_path / "int8" / "inference.onnx")
    onnx.checker.check_model(model)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("MatMulInteger") > 5
    assert "ConvInteger" not in operators
    large = [each for each in model.graph.initializer if np.prod(each.dims) >= reduced.SMALL]
    stored_as_float = [each for each in large if each.data_type == onnx.TensorProto.FLOAT and len(each.dims) == 4]
    assert not stored_as_float


@pytest.mark.slow
def test_what_loses_too_much_is_not_written_and_leaves_what_is_there(weights, tmp_path, monkeypatch, capsys):
    needs_onnx()
    monkeypatch.setattr(cost, "measure", lambda *_: compared(0.6))
    with pytest.raises(SystemExit) as exit:
        tool(
            monkeypatch,
            *("export.py", "--weights", weights, "--format", "onnx", "--precision", "int8"),
            *("--output", tmp_path / "int8"),
        )
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err.splitlines(True)[-1], "--most-lost")
    assert not list((tmp_path / "int8").iterdir())


@pytest.mark.parametrize("shape", [(50, 90), (20, 24), (32, 32)])
@pytest.mark.parametrize("pipeline", ["host", "fast"])
@pytest.mark.parametrize("size", [32, 48, 64])
def test_the_steps_lead_to_the_probabilities_of_predict(weights, tmp_path, pipeline, size, shape):
    import paddle

    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    trained = load(*found(weights, f"data.pipeline={pipeline}", f"data.image_size={size}"))
    object.__setattr__(trained, "temperature", 0.5)
    listed = json.loads(json.dumps(steps(trained.config, "images", "logits", 0.5)))
    with paddle.no_grad():
        p = follow(listed, tmp_path / "photo.png", lambda x, *_: [trained.model(paddle.to_tensor(x)).numpy()])
    expected = trained.probabilities(trained.picture(tmp_path / "photo.png")[None])[0]
    np.testing.assert_allclose(p, expected, atol=1e-4)


def test_an_export_lists_its_steps(weights, tmp_path):
    export(*found(weights), "paddle", tmp_path)
    described = program.read(tmp_path)
    trained = load(*found(tmp_path))
    noise = np.random.default_rng(2).integers(0, 256, (70, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    p = follow(described["steps"], tmp_path / "photo.png", in_paddle_inference(tmp_path))
    expected = trained.probabilities(trained.picture(tmp_path / "photo.png")[None])[0]
    np.testing.assert_allclose(p, expected, atol=1e-4)
