import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from unittest import mock

import cv2
import numpy as np
import paddle
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import eval as eval_script
from engine import filenames
from engine.cli import run
from engine.config import build
from engine.config.load import load_config
from engine.inference import program as exported, trained as trained_models
from engine.inference.export import FORMATS, export
from engine.weights import pdparams
from models import VARIANTS, cpu
from models.windows import PADDING_MASKS
from tests.support import archives
from tests.support.runs import ROOT, train
from tests.support.scripts import tool

FARTHEST = {"paddle": 5e-6, "onnx": 1e-5}  # of the largest logit: what rounding of float32 comes to, and no more
BATCHES = (1, 7)


def needs(format):
    if format == "onnx":
        pytest.importorskip("paddle2onnx", reason="ONNX needs requirements/export.txt")
        pytest.importorskip("onnxruntime", reason="ONNX needs requirements/export.txt")


@pytest.fixture(params=["paddle", pytest.param("onnx", marks=pytest.mark.slow)])
def format(request):
    needs(request.param)
    return request.param


@pytest.fixture(scope="module")
def home(nano, tmp_path_factory):
    """A run in `run`, an export of it in `paddle` and, where it can be made, in `onnx`."""
    folder = tmp_path_factory.mktemp("home")
    archive = archives.write(folder / "cifar.tar.gz", archives.members(train=40, test=50))
    with pytest.MonkeyPatch.context() as monkeypatch:
        train(monkeypatch, archive, folder / "run", "train.epochs=1")
        weights = folder / "run" / "best_model.pdparams"
        for format in FORMATS:
            if format == "paddle" or all(map(importlib.util.find_spec, exported.FOR_ONNX)):
                tool(monkeypatch, "export.py", "--weights", weights, "--format", format, "--output", folder / format)
    return folder


@pytest.fixture
def copy(home, format, tmp_path):
    """A copy of the home's export that a test may spoil."""
    return shutil.copytree(home / format, tmp_path / format)


def load(folder):
    return trained_models.load(*trained_models.find(folder, None, [])[:2])


def script(monkeypatch, main, *arguments):
    monkeypatch.setattr(sys, "argv", ["script.py", *map(str, arguments)])
    run(main)


def export_again(monkeypatch, weights, output, *arguments):
    format = "onnx" if output.name == "onnx" else "paddle"
    tool(monkeypatch, "export.py", "--weights", weights, "--format", format, "--output", output, *arguments)


def refused(capsys, run, *arguments):
    """Run a script that has to refuse its arguments; return its line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        run(*arguments)
    error = capsys.readouterr().err.splitlines()
    assert exit.value.code == 2
    assert len([line for line in error if not line.startswith("config: ")]) == 1
    return error[-1]


def in_batches(model, images, size):
    with paddle.no_grad(), cpu.plain():
        return np.concatenate([model(images[i : i + size]).numpy() for i in range(0, len(images), size)])


def digits(count):
    """uint8 [count, 32, 32, 3]: real pictures, handwritten."""
    grey = [cv2.resize(image * 255 / 16, (32, 32)) for image in load_digits().images[:count]]
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)


def assert_equals_the_model(tmp_path, variant, image_size, format, pictures):
    """Logits of real pictures, at batch 1 and 7, are those of the model, and so is each top-1."""
    overrides = [f"model.name={variant}", f"data.image_size={image_size}", "device=cpu"]
    config = load_config(ROOT / "configs" / "tiny_cifar10.yaml", overrides)
    paddle.seed(5)
    model = build.build_model(config)
    pdparams.save({tmp_path / "model.pdparams": model.state_dict()})
    export(tmp_path / "model.pdparams", config, format, tmp_path / format)

    trained = trained_models.load(tmp_path / "model.pdparams", config)
    images = trained.normalised(digits(pictures))
    programs = [load(tmp_path / format).model]
    if format == "paddle":
        programs.append(paddle.jit.load(str(tmp_path / format / filenames.PROGRAM)))
        programs[-1].eval()
    for size in BATCHES:
        expected = in_batches(trained.model, images, size)
        allowed = FARTHEST[format] * max(1.0, np.abs(expected).max())
        for program in programs:
            logits = in_batches(program, images, size)
            np.testing.assert_allclose(logits, expected, rtol=0, atol=allowed)
            assert (logits.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_an_export_equals_the_model(nano, tmp_path, format):
    assert_equals_the_model(tmp_path, "regionvit_micro_32", 32, format, pictures=100)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_export_of_every_variant_equals_the_model(tmp_path, variant, format, monkeypatch):
    """At 64 x 64, where windows are padded, those of w14 by more than half; the large ones with an encoder a stage."""
    if variant not in ("regionvit_micro_32", "regionvit_tiny_224"):
        stages = len(VARIANTS[variant]["depth"])
        monkeypatch.setitem(VARIANTS, variant, {**VARIANTS[variant], "depth": (1,) * stages})
    assert_equals_the_model(tmp_path, variant, 64, format, pictures=14)


@pytest.mark.parametrize("mask", PADDING_MASKS)
def test_windows_are_padded_in_an_export_as_in_the_model(home, tmp_path, format, mask):
    config = load_config(home / "run" / "config.yaml", ["data.image_size=40", f"model.padding_mask={mask}"])
    export(home / "run" / "best_model.pdparams", config, format, tmp_path / mask)
    padded, images = load(tmp_path / mask), np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    model = trained_models.load(home / "run" / "best_model.pdparams", config)
    np.testing.assert_allclose(padded.probabilities(images), model.probabilities(images), atol=1e-6)
    if format == "onnx":
        import onnx

        pads = [node for node in onnx.load(tmp_path / mask / "inference.onnx").graph.node if node.op_type == "Pad"]
        assert pads
        assert all(len(node.input) == 2 for node in pads)  # and no value that the converter made up


@pytest.mark.parametrize("flags", [[], ["--flip"], pytest.param(["--report"], marks=pytest.mark.slow)])
def test_eval_measures_of_an_export_what_it_measures_of_the_weights(home, format, tmp_path, monkeypatch, flags):
    for name, weights in ("model", home / "run" / "best_model.pdparams"), ("export", home / format):
        script(monkeypatch, eval_script.main, "--weights", weights, "--output", tmp_path / name, *flags)
    model, export = (json.loads((tmp_path / name / "eval.json").read_text()) for name in ("model", "export"))
    for key in ("top1", "top5", "images", "split", "classes", "confusion_matrix", "per_class", "flip"):
        assert export[key] == model[key]
    assert export["loss"] == pytest.approx(model["loss"], abs=1e-5)
    assert export["ece"] == pytest.approx(model["ece"], abs=1e-5)
    assert (model["runtime"], export["runtime"]) == ("Paddle", exported.NAMES[format])
    assert sorted(file.name for file in (tmp_path / "export").iterdir() if file.suffix != ".png") == sorted(
        file.name for file in (tmp_path / "model").iterdir() if file.suffix != ".png"
    )


def test_predict_says_of_an_export_what_it_says_of_the_weights(home, format, tmp_path, monkeypatch, capsys):
    Image.fromarray(digits(4)[3]).resize((90, 50)).save(tmp_path / "photo.png")
    said = []
    names = ["", filenames.EXPORTED_WEIGHTS[format], filenames.DESCRIPTION]
    for weights in (home / "run" / "best_model.pdparams", *(home / format / name for name in names)):
        capsys.readouterr()
        tool(monkeypatch, "predict.py", "--weights", weights, tmp_path / "photo.png", "val:0", "val:7")
        said.append(capsys.readouterr().out)
    assert said[0].count("\n") == 3
    assert said[1:] == said[:1] * len(names)


def test_the_class_names_come_with_an_export(home, format):
    names, note = load(home / format).class_names()
    assert (names, note) == (archives.CLASSES, None)


def test_the_description_is_enough_to_run_an_export(home, format, tmp_path):
    """What somebody writes who has the export's folder, and none of this project's code."""
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 90, 3), np.uint8))
    photo.save(tmp_path / "photo.png")
    described = json.loads((home / format / "preprocessing.json").read_text())

    picture = np.asarray(photo)[:, 20:70]
    picture = cv2.resize(picture, (described["side"],) * 2, interpolation=cv2.INTER_AREA)
    picture = cv2.resize(picture, (described["image_size"],) * 2, interpolation=cv2.INTER_LINEAR)
    x = (picture / 255 - described["mean"]) / described["std"]
    x = x.transpose(2, 0, 1)[None].astype(described["input"]["dtype"])
    assert list(x.shape[1:]) == described["input"]["shape"][1:]
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(home / format / "inference.onnx", providers=["CPUExecutionProvider"])
        (logits,) = session.run([described["output"]["name"]], {described["input"]["name"]: x})
    else:
        logits = paddle.jit.load(str(home / format / "inference"))(paddle.to_tensor(x)).numpy()
    p = np.exp(logits - logits.max())
    p = (p / p.sum())[0]

    model = load(home / "run" / "best_model.pdparams")
    expected = model.probabilities(model.picture(tmp_path / "photo.png")[None])[0]
    np.testing.assert_allclose(p, expected, atol=1e-4)
    assert described["classes"][p.argmax()] == archives.CLASSES[expected.argmax()]


@pytest.mark.slow
def test_an_onnx_model_has_names_and_nothing_to_spare(home):
    needs("onnx")
    import onnx

    model = onnx.load(home / "onnx" / "inference.onnx")
    onnx.checker.check_model(model, full_check=True)
    (source,), (result,) = model.graph.input, model.graph.output
    assert (source.name, result.name) == ("images", "logits")
    assert [end.type.tensor_type.shape.dim[0].dim_param for end in (source, result)] == ["batch", "batch"]
    read = {name for node in model.graph.node for name in node.input} | {"logits"}
    assert all(read.intersection(node.output) for node in model.graph.node)
    assert all(constant.name in read for constant in model.graph.initializer)


def test_an_export_is_replaced_by_the_next_and_nothing_else_is(home, copy, format, monkeypatch):
    (copy / "inference.old").write_text("another Paddle's program")
    (copy / "inference.py").write_text("mine")
    before = exported.read(copy)
    before["files"]["inference.old"] = "0"
    (copy / filenames.DESCRIPTION).write_text(json.dumps(before))
    weights = home / "run" / "final_model.pdparams"
    export_again(monkeypatch, weights, copy)
    assert before["made_from"]["weights"] != exported.read(copy)["made_from"]["weights"] == str(weights)
    assert {file.name for file in copy.iterdir()} == {file.name for file in (home / format).iterdir()} | {
        "inference.py"
    }


@pytest.mark.parametrize("after", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1)), 2])
def test_a_kill_leaves_the_export_before_or_one_that_is_known_as_damaged(home, copy, monkeypatch, capsys, after):
    """Whatever has been put into its place by then: nothing, the description, the config too."""
    weights, replace, left = home / "run" / "final_model.pdparams", os.replace, [after]

    def dies(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(*arguments)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(SystemExit):
        export_again(monkeypatch, weights, copy)
    monkeypatch.setattr(os, "replace", replace)
    if after:
        error = refused(capsys, tool, monkeypatch, "predict.py", "--weights", copy, "val:0")
        assert "altered since it was exported: export again" in error
    else:
        exported.describe(exported.weights_in(copy))
    export_again(monkeypatch, weights, copy)
    assert exported.describe(exported.weights_in(copy))["made_from"]["weights"] == str(weights)


def test_a_full_disk_leaves_the_export_before(home, copy, monkeypatch, capsys):
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("engine.system.atomic.sync", mock.Mock(side_effect=[None, full]))
    error = refused(capsys, export_again, monkeypatch, home / "run" / "final_model.pdparams", copy)
    assert "cannot be written" in error
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


@pytest.mark.parametrize("spoil", ["spoil_the_weights", "damage_the_description"])
def test_a_spoilt_export_is_replaced(home, copy, monkeypatch, spoil):
    globals()[spoil](copy)
    export_again(monkeypatch, home / "run" / "best_model.pdparams", copy)
    exported.describe(exported.weights_in(copy))


def test_an_export_is_float32_and_for_any_device(home, copy):
    config = load_config(copy / "config.yaml")
    assert (config.device, config.amp.level) == ("auto", "O0")
    assert load_config(home / "run" / "config.yaml").device == "cpu"


def test_names_that_nobody_knows_are_not_made_up_for_good(home, tmp_path, monkeypatch, capsys):
    for name in ("best_model.pdparams", "config.yaml"):
        shutil.copy(home / "run" / name, tmp_path)
    export_again(monkeypatch, tmp_path / "best_model.pdparams", tmp_path / "paddle", "-o", "data.file=none.tar.gz")
    assert "names of the classes are not known" in capsys.readouterr().out
    assert exported.read(tmp_path / "paddle")["classes"] is None
    tool(monkeypatch, "predict.py", "--weights", tmp_path / "paddle", "-o", f"data.file={home}/cifar.tar.gz", "val:0")
    assert any(name in capsys.readouterr().out for name in archives.CLASSES)


def test_without_output_an_export_goes_beside_the_weights(home, format, monkeypatch, tmp_path):
    for name in ("best_model.pdparams", "config.yaml"):
        shutil.copy(home / "run" / name, tmp_path)
    tool(monkeypatch, "export.py", "--weights", tmp_path / "best_model.pdparams", "--format", format)
    assert exported.read(tmp_path / filenames.EXPORTS[format])["format"] == format


def test_an_export_is_not_lost_to_a_new_run_in_its_folder(home, tmp_path, monkeypatch, capsys):
    """Not even where its weights are gone, and the folder seems to hold a run that has learned nothing."""
    shutil.copy(home / "run" / "config.yaml", tmp_path)
    ours = shutil.copytree(home / "paddle", tmp_path / filenames.EXPORTS["paddle"])
    mine = shutil.copytree(home / "paddle", tmp_path / "onnx")
    error = refused(capsys, train, monkeypatch, home / "cifar.tar.gz", tmp_path)
    assert f"already holds a run ({ours.name})" in error
    train(monkeypatch, home / "cifar.tar.gz", tmp_path, "train.epochs=1", flags=["--overwrite"])
    exported.describe(exported.weights_in(tmp_path / "replaced" / ours.name))
    exported.describe(exported.weights_in(mine))


def test_an_export_that_computes_something_else_is_not_written(home, copy, format, monkeypatch, capsys):
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    right = exported.RUNNERS[format]

    def wrong(folder, device):
        run = right(folder, device)
        return lambda images: run(images) * np.float32(1.002)

    monkeypatch.setitem(exported.RUNNERS, format, wrong)
    weights = home / "run" / "best_model.pdparams"
    error = refused(capsys, tool, monkeypatch, "export.py", "--weights", weights, "--format", format, "--output", copy)
    assert "a fault of the conversion" in error
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


def test_a_conversion_that_fails_is_told_by_its_last_words(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exported, "check_installed", lambda *_: None)
    monkeypatch.setitem(sys.modules, "onnx", mock.Mock())
    died = subprocess.CompletedProcess([], -6, "Oops, there are some operators not supported yet: erfinv\n\n")
    monkeypatch.setattr("engine.inference.export.subprocess.run", lambda *_, **__: died)
    arguments = ["--weights", home / "run" / "best_model.pdparams", "--format", "onnx", "--output", tmp_path]
    error = refused(capsys, tool, monkeypatch, "export.py", *arguments)
    assert "paddle2onnx failed (Oops, there are some operators not supported yet: erfinv)" in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_not_exported_into(home, copy, format, monkeypatch, capsys):
    weights, (other,) = home / "run" / "best_model.pdparams", set(FORMATS) - {format}
    monkeypatch.setattr(exported, "check_installed", lambda *_: None)
    error = refused(capsys, tool, monkeypatch, "export.py", "--weights", weights, "--format", other, "--output", copy)
    assert f"has an export as {format}: choose another folder" in error
    error = refused(capsys, tool, monkeypatch, "export.py", "--weights", weights, "--output", home / "run")
    assert "has a config.yaml that is of no export: choose another folder" in error


def test_another_file_than_the_exports_is_not_taken_for_it(copy, monkeypatch, capsys):
    file = exported.weights_in(copy)
    renamed = file.rename(file.with_stem("model"))
    error = refused(capsys, tool, monkeypatch, "predict.py", "--weights", renamed, "val:0")
    assert "not of the export in that folder" in error


def test_an_export_is_not_exported_again(copy, monkeypatch, capsys):
    error = refused(capsys, tool, monkeypatch, "export.py", "--weights", copy, "--output", copy.parent / "again")
    assert "an export already: give the .pdparams file" in error


def test_an_export_does_not_tell_its_attention(copy, monkeypatch, capsys):
    error = refused(capsys, tool, monkeypatch, "show_attention.py", "--weights", copy, "val:0")
    assert "an export does not tell its attention: give a .pdparams file" in error


def spoil_the_weights(folder):
    file = exported.weights_in(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return f"{file}: altered since it was exported: export again"


def remove_the_description(folder):
    (folder / filenames.DESCRIPTION).unlink()
    return "no preprocessing.json, so no export"


def damage_the_description(folder):
    (folder / filenames.DESCRIPTION).write_text('{"format": ["onnx"]}')
    return "preprocessing.json: not readable as an export's description"


def shorten_the_description(folder):
    description = exported.read(folder)
    del description["image_size"]
    (folder / filenames.DESCRIPTION).write_text(json.dumps(description))
    return "preprocessing.json: not the description of an export"


def change_the_config(folder):
    with (folder / "config.yaml").open("a") as file:
        file.write("# mine")
    return "config.yaml: altered since it was exported: export again"


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_the_weights,
        remove_the_description,
        damage_the_description,
        shorten_the_description,
        change_the_config,
    ],
)
def test_a_spoilt_export_is_refused_in_one_line(copy, monkeypatch, capsys, spoil):
    expected = spoil(copy)
    assert expected in refused(capsys, tool, monkeypatch, "predict.py", "--weights", copy, "val:0")


@pytest.mark.parametrize(
    "override",
    [
        "model.name=regionvit_tiny_224",
        "model.num_classes=7",
        "model.padding_mask=exact",
        "data.image_size=64",
        "amp.level=O1",
    ],
)
def test_a_config_that_contradicts_an_export_is_refused(home, override, monkeypatch, capsys):
    key, value = override.split("=")
    error = refused(capsys, tool, monkeypatch, "predict.py", "--weights", home / "paddle", "-o", override, "val:0")
    assert f"{key}: {value}, but {home}/paddle/inference.pdiparams was exported with" in error


def test_a_program_of_another_paddle_is_refused(home, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(home / "paddle", tmp_path / "paddle")
    description = exported.read(folder)
    (program,) = set(filenames.PADDLE_PROGRAMS) & set(description["files"])
    description["files"]["inference.other"] = description["files"].pop(program)
    (folder / program).rename(folder / "inference.other")
    (folder / filenames.DESCRIPTION).write_text(json.dumps(description))
    error = refused(capsys, tool, monkeypatch, "predict.py", "--weights", folder, "val:0")
    assert f"inference.pdmodel, and Paddle {paddle.__version__} reads no other program" in error


@pytest.mark.parametrize("name", exported.FOR_ONNX)
def test_what_is_not_installed_is_named_with_the_command(home, tmp_path, monkeypatch, capsys, name):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda wanted: find(wanted) if wanted != name else None)
    weights, command = home / "run" / "best_model.pdparams", "pip install -r requirements/export.txt"
    export = "export.py", "--weights", weights, "--format", "onnx", "--output", tmp_path / "new"
    if find("onnx"):
        assert f"ONNX needs {name}: {command}" in refused(capsys, tool, monkeypatch, *export)
    assert "ONNX needs " in refused(capsys, tool, monkeypatch, "benchmark.py", "--only", "inference")
    assert not (tmp_path / "new").exists()
