import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import paddle
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from engine import filenames
from engine.config import build
from engine.config.load import load_config
from engine.errors import UserError
from engine.evaluation.saved import evaluate_weights
from engine.inference import export as export_module, program
from engine.inference.attention import show_attention
from engine.inference.export import FORMATS, OUTPUT, export
from engine.inference.trained import find, load
from engine.output.folder import Output
from engine.system.atomic import sha256sum
from engine.weights import pdparams
from engine.weights.temperature import write_note
from models import VARIANTS, cpu
from models.windows import PADDING_MASKS
from tests.support import archives
from tests.support.device import DEVICE
from tests.support.drawing import blank_figures
from tests.support.errors import one_line_about, refuses
from tests.support.runs import ROOT
from tests.support.scripts import tool
from tests.support.trained import write_run
from tests.support.versions import paddle_before

FARTHEST = {"paddle": 5e-6, "onnx": 1e-5}  # of the largest logit: the rounding of float32, and no more
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
    """Weights in `run`, an export of them in `paddle` and, where it can be made, in `onnx`."""
    folder = tmp_path_factory.mktemp("home")
    archive = archives.write(folder / "cifar.tar.gz", archives.members(train=40, test=50))
    weights = write_run(folder / "run", archive) / "best_model.pdparams"
    with pytest.MonkeyPatch.context() as monkeypatch:
        for format in FORMATS:
            if format == "paddle" or all(map(importlib.util.find_spec, program.FOR_ONNX)):
                tool(monkeypatch, "export.py", "--weights", weights, "--format", format, "--output", folder / format)
    return folder


@pytest.fixture
def copy(home, format, tmp_path):
    """A copy of the home's export that a test may spoil."""
    return shutil.copytree(home / format, tmp_path / format)


@pytest.fixture
def converted(home, monkeypatch):
    """Exporting the home's weights again takes the home's program, for tests of where its files go."""

    def write(trained, format, folder, size, names):
        for file in (home / format).iterdir():
            if file.name not in (filenames.CONFIG, filenames.DESCRIPTION):
                shutil.copy(file, folder)

    monkeypatch.setattr(export_module, "_write", write)


def loaded(folder, *overrides):
    return load(*find(folder, None, overrides)[:2])


def export_again(weights, output, *overrides):
    path, config, _ = find(weights, None, overrides)
    return export(path, config, "onnx" if output.name == "onnx" else "paddle", output)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def in_batches(model, images, size):
    with paddle.no_grad(), cpu.plain():
        return np.concatenate([model(images[i : i + size]).numpy() for i in range(0, len(images), size)])


def digits(count):
    """uint8 [count, 32, 32, 3]: real pictures, handwritten."""
    grey = [cv2.resize(image * 255 / 16, (32, 32)) for image in load_digits().images[:count]]
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)


def assert_equals_the_model(trained, folder, format, pictures):
    """Logits of real pictures, at batch 1 and 7, are those of the model, and so is each top-1."""
    images = trained.normalised(digits(pictures))
    programs = [loaded(folder).model]
    if format == "paddle":
        programs.append(paddle.jit.load(str(folder / filenames.PROGRAM)))
        programs[-1].eval()
    for size in BATCHES:
        expected = in_batches(trained.model, images, size)
        allowed = FARTHEST[format] * max(1.0, np.abs(expected).max())
        for each in programs:
            logits = in_batches(each, images, size)
            np.testing.assert_allclose(logits, expected, rtol=0, atol=allowed)
            assert (logits.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_an_export_equals_the_model(home, format):
    assert_equals_the_model(loaded(home / "run" / "best_model.pdparams"), home / format, format, pictures=100)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_export_of_every_variant_equals_the_model(tmp_path, variant, format, monkeypatch):
    """At 64 x 64, where windows are padded, those of w14 by more than half; large ones with one encoder per stage."""
    if variant not in ("regionvit_micro_32", "regionvit_tiny_224"):
        stages = len(VARIANTS[variant]["depth"])
        monkeypatch.setitem(VARIANTS, variant, {**VARIANTS[variant], "depth": (1,) * stages})
    overrides = [f"model.name={variant}", "data.image_size=64", f"device={DEVICE}"]
    config = load_config(ROOT / "configs" / "tiny_cifar10.yaml", overrides)
    paddle.seed(5)
    pdparams.save({tmp_path / "model.pdparams": build.build_model(config).state_dict()})
    export(tmp_path / "model.pdparams", config, format, tmp_path / format)
    assert_equals_the_model(load(tmp_path / "model.pdparams", config), tmp_path / format, format, pictures=14)


@pytest.mark.parametrize("mask", PADDING_MASKS)
def test_windows_are_padded_in_an_export_as_in_the_model(home, tmp_path, format, mask):
    config = load_config(home / "run" / "config.yaml", ["data.image_size=40", f"model.padding_mask={mask}"])
    export(home / "run" / "best_model.pdparams", config, format, tmp_path / mask)
    padded, images = loaded(tmp_path / mask), np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    model = load(home / "run" / "best_model.pdparams", config)
    np.testing.assert_allclose(padded.probabilities(images), model.probabilities(images), atol=1e-6)
    if format == "onnx":
        import onnx

        pads = [node for node in onnx.load(tmp_path / mask / "inference.onnx").graph.node if node.op_type == "Pad"]
        assert pads
        assert all(len(node.input) == 2 for node in pads)  # and not a value that the converter made up


@pytest.mark.parametrize("flip", [False, True])
def test_an_export_is_evaluated_to_the_numbers_of_the_weights(home, format, tmp_path, flip):
    measured = []
    for name, weights in ("model", home / "run" / "best_model.pdparams"), ("export", home / format):
        path, config, _ = find(weights, None, [])
        with blank_figures():  # a report, for its files and because an export's folder has no history
            measured.append(evaluate_weights(path, config, tmp_path / name, report=flip, flip=flip))
    model, exported = measured
    for key in ("top1", "top5", "images", "split", "classes", "confusion_matrix", "per_class", "flip"):
        assert exported[key] == model[key]
    assert exported["loss"] == pytest.approx(model["loss"], abs=1e-5)
    assert exported["ece"] == pytest.approx(model["ece"], abs=1e-5)
    assert (model["runtime"], exported["runtime"]) == ("Paddle", program.NAMES[format])
    assert set(contents(tmp_path / "export")) == set(contents(tmp_path / "model"))


def test_predict_prints_for_an_export_what_it_prints_for_the_weights(home, format, tmp_path, monkeypatch, capsys):
    Image.fromarray(digits(4)[3]).resize((90, 50)).save(tmp_path / "photo.png")
    printed = []
    names = ["", filenames.EXPORTED_WEIGHTS[format], filenames.DESCRIPTION]
    for weights in (home / "run" / "best_model.pdparams", *(home / format / name for name in names)):
        capsys.readouterr()
        tool(monkeypatch, "predict.py", "--weights", weights, tmp_path / "photo.png", "val:0", "val:7")
        printed.append(capsys.readouterr().out)
    assert printed[0].count("\n") == 3
    assert printed[1:] == printed[:1] * len(names)


def test_a_temperature_comes_with_an_export_whose_logits_stay(home, format, tmp_path):
    shutil.copytree(home / "run", tmp_path / "run")
    weights = tmp_path / "run" / "best_model.pdparams"
    write_note(weights, 0.25, sha256sum(weights), 20, "held-out training pictures")
    _, lines = export_again(weights, tmp_path / format)
    assert str(weights.with_name("best_model.temperature.json")) in "\n".join(lines)
    exported, plain, images = loaded(tmp_path / format), loaded(home / format), digits(4)
    inputs = plain.normalised(images)
    np.testing.assert_allclose(exported.model(inputs).numpy(), plain.model(inputs).numpy(), rtol=1e-5, atol=1e-6)
    assert (exported.temperature, plain.temperature) == (0.25, 1)
    assert str(tmp_path / format / "preprocessing.json") in exported.about_temperature
    assert plain.about_temperature == ""
    np.testing.assert_allclose(exported.probabilities(images), loaded(weights).probabilities(images), atol=1e-6)


def test_an_export_of_before_temperatures_has_one_of_1_and_a_wrong_one_is_refused(copy):
    file = copy / filenames.DESCRIPTION
    described = json.loads(file.read_text(encoding="utf-8"))
    assert described.pop("temperature") == 1
    file.write_text(json.dumps(described), encoding="utf-8")
    assert loaded(copy).temperature == 1
    for wrong in (0, -1.5, "1", None, True, float("nan")):
        file.write_text(json.dumps(described | {"temperature": wrong}), encoding="utf-8")
        with refuses(UserError, key=filenames.DESCRIPTION, place=file):
            loaded(copy)


def test_the_class_names_come_with_an_export(home, format):
    assert loaded(home / format).class_names() == (archives.CLASSES, None)


def test_the_description_is_enough_to_run_an_export(home, format, tmp_path):
    """Somebody who has the export's folder alone, and no code of this project, writes this."""
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 90, 3), np.uint8))
    photo.save(tmp_path / "photo.png")
    described = json.loads((home / format / "preprocessing.json").read_text(encoding="utf-8"))

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

    model = loaded(home / "run" / "best_model.pdparams")
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
    assert not [node for node in model.graph.node if node.op_type == "Constant"]  # weights are where readers look


@pytest.mark.usefixtures("converted")
def test_an_export_is_replaced_by_the_next_and_nothing_else_is(home, copy, format):
    (copy / "inference.old").write_text("another Paddle's program", encoding="utf-8")
    (copy / "inference.py").write_text("mine", encoding="utf-8")
    before = program.read(copy)
    before["files"]["inference.old"] = "0"
    (copy / filenames.DESCRIPTION).write_text(json.dumps(before), encoding="utf-8")
    weights = home / "run" / "final_model.pdparams"
    export_again(weights, copy)
    assert before["made_from"]["weights"] != program.read(copy)["made_from"]["weights"] == str(weights)
    assert set(contents(copy)) == {*contents(home / format), "inference.py"}


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_kill_leaves_the_export_before_or_one_that_is_known_as_damaged(home, copy, monkeypatch, after):
    """What is in place by then: nothing, the description, the config too."""
    weights, replace, left = home / "run" / "final_model.pdparams", os.replace, [after]
    write = export_module._write

    def write_more(trained, format, folder, size, names):
        write(trained, format, folder, size, names)
        (folder / "inference.new").write_text("of this export alone", encoding="utf-8")

    def dies(source, target):
        if Path(target).parent == copy:  # not the folder where it is made
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        replace(source, target)

    monkeypatch.setattr(export_module, "_write", write_more)
    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        export_again(weights, copy)
    monkeypatch.setattr(os, "replace", replace)
    if after:
        with refuses(UserError) as caught:
            loaded(copy)
        assert caught.value.place == str(copy / "inference.new")
    else:
        program.describe(program.weights_in(copy))
    export_again(weights, copy)
    assert program.describe(program.weights_in(copy))["made_from"]["weights"] == str(weights)


@pytest.mark.usefixtures("converted")
def test_a_full_disk_leaves_the_export_before(home, copy, monkeypatch):
    before = contents(copy)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("engine.system.atomic.sync", mock.Mock(side_effect=[None, full]))
    with refuses(UserError) as caught:
        export_again(home / "run" / "final_model.pdparams", copy)
    assert f"--output {copy}" in str(caught.value)
    assert contents(copy) == before


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("spoil", ["spoil_the_weights", "damage_the_description"])
def test_a_spoilt_export_is_replaced(home, copy, spoil):
    globals()[spoil](copy)
    export_again(home / "run" / "best_model.pdparams", copy)
    program.describe(program.weights_in(copy))


def test_an_export_is_float32_and_for_any_device(home, copy):
    config = load_config(copy / "config.yaml")
    assert (config.device, config.amp.level) == ("auto", "O0")
    assert load_config(home / "run" / "config.yaml").device == DEVICE


@pytest.mark.usefixtures("converted")
def test_without_noted_names_and_output_an_export_goes_beside_the_weights_and_names_none(
    home, tmp_path, monkeypatch, capsys
):
    """Names that were made up are not part of the export: data that has the names may come later."""
    for name in ("best_model.pdparams", "config.yaml"):
        shutil.copy(home / "run" / name, tmp_path)
    weights = tmp_path / "best_model.pdparams"
    tool(monkeypatch, "export.py", "--weights", weights, "--format", "paddle", "-o", "data.file=none.tar.gz")
    assert "none.tar.gz" in capsys.readouterr().out  # neither it nor a file beside the weights has the names
    made = tmp_path / filenames.EXPORTS["paddle"]
    assert (program.read(made)["format"], program.read(made)["classes"]) == ("paddle", None)
    assert loaded(made, f"data.file={home}/cifar.tar.gz").class_names() == (archives.CLASSES, None)


def test_an_export_is_not_lost_to_a_new_run_in_its_folder(home, tmp_path):
    """Not even if its weights are gone, and the folder seems to hold a run that has learned nothing."""
    shutil.copy(home / "run" / "config.yaml", tmp_path)
    ours = shutil.copytree(home / "paddle", tmp_path / filenames.EXPORTS["paddle"])
    mine = shutil.copytree(home / "paddle", tmp_path / filenames.EXPORTS["onnx"])  # another format: not of a run
    output = Output(tmp_path)
    with refuses(UserError, key="output_dir", value=str(tmp_path), place=ours):
        output.check()
    output.check(overwrite=True)
    output.put_old_run_aside()
    program.describe(program.weights_in(tmp_path / filenames.REPLACED / ours.name))
    program.describe(program.weights_in(mine))


@pytest.mark.usefixtures("converted")
def test_an_export_that_computes_something_else_is_not_written(home, copy, format, monkeypatch):
    before, right = contents(copy), program.RUNNERS[format]

    def wrong(folder, device):
        run = right(folder, device)
        return lambda images: [output * np.float32(1.002) for output in run(images)]

    monkeypatch.setitem(program.RUNNERS, format, wrong)
    with refuses(UserError, key=OUTPUT) as caught:
        export_again(home / "run" / "best_model.pdparams", copy)
    assert caught.value.value > 0
    assert contents(copy) == before


# The output of paddle2onnx 1.3.1 and 2.1.0 at an operator that they do not know.
ABORTED = """
--------------------------------------
C++ Traceback (most recent call last):
--------------------------------------
0   paddle2onnx::Export(char const*, char const*, char**, int*, int, bool, bool, bool, bool, bool)

----------------------
Error Message Summary:
----------------------
FatalError: `Process abort signal` is detected by the operating system.
  [SignalInfo: *** SIGABRT (@0x4a95) received by PID 19093 (TID 0x7f152ecb9b80) from PID 19093 ***]

"""
OLD = """[Paddle2ONNX] Start to parsing Paddle model...
[Paddle2ONNX] Oops, there are some operators not supported yet, including digamma,erfinv,
[ERROR] Due to the unsupported operators, the conversion is aborted.
"""
NEW = """[Paddle2ONNX] Start parsing the Paddle model file...
[Paddle2ONNX]
[ERROR][Paddle2ONNX] Due to the unsupported operators, the conversion is aborted.
"""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (OLD + ABORTED, "including digamma,erfinv,"),
        (NEW + ABORTED, "Due to the unsupported operators"),
        ("[Paddle2ONNX] Start\nKilled\n\n", "Killed"),
        ("", "status -6"),
    ],
)
def test_a_conversion_that_fails_is_reported_by_the_line_that_says_why(home, tmp_path, monkeypatch, output, reason):
    monkeypatch.setattr(program, "check_installed", lambda *_: None)
    monkeypatch.setitem(sys.modules, "onnx", mock.Mock())
    monkeypatch.setattr("engine.inference.export.make_static", lambda *_: None)
    monkeypatch.setattr(paddle.jit, "save", lambda *_: None)
    died = subprocess.CompletedProcess([], -6, output)
    monkeypatch.setattr("engine.inference.convert.subprocess.run", lambda *_, **__: died)
    with refuses(UserError, key="--format", value="onnx") as caught:
        export_again(home / "run" / "best_model.pdparams", tmp_path / "onnx")
    assert reason in str(caught.value)
    assert "SIGABRT" not in str(caught.value)
    assert list((tmp_path / "onnx").iterdir()) == []


@pytest.mark.skipif(paddle_before(3, 3), reason="linear_v2 came with Paddle 3.3")
def test_a_gpu_build_writes_the_program_of_a_cpu_build(home, tmp_path, monkeypatch):
    """A GPU build is imitated: `F.linear` asks how Paddle was compiled, and takes another operator for CUDA."""
    trained = loaded(home / "run" / "best_model.pdparams")
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    layer = paddle.jit.to_static(paddle.nn.Linear(2, 2), backend=None, full_graph=True)
    assert "linear_v2" in str(layer.forward.get_concrete_program(paddle.ones([1, 2]))[0].main_program)
    monkeypatch.setattr(export_module, "to_onnx", lambda folder, names: None)
    export_module._write(trained, "paddle", tmp_path, None, [OUTPUT])
    (program_file,) = tmp_path.glob("*.json")
    assert b"linear_v2" not in program_file.read_bytes()
    assert paddle.get_flags("FLAGS_use_legacy_linear") == {"FLAGS_use_legacy_linear": False}


def test_a_folder_that_holds_something_else_is_not_exported_into(home, copy, format, monkeypatch):
    (other,) = set(FORMATS) - {format}
    monkeypatch.setattr(program, "check_installed", lambda *_: None)
    weights, config, _ = find(home / "run" / "best_model.pdparams", None, [])
    with refuses(UserError, key="--output", value=format, place=copy):
        export(weights, config, other, copy)
    with refuses(UserError, key="--output", value="config.yaml", place=home / "run"):
        export(weights, config, format, home / "run")


def test_another_file_than_the_exports_is_not_taken_for_it(copy):
    file = program.weights_in(copy)
    renamed = file.rename(file.with_stem("model"))
    with refuses(UserError, key="--weights", value=renamed.name, place=copy):
        loaded(renamed)


def test_an_export_is_not_exported_again_and_does_not_reveal_its_attention(copy, tmp_path):
    path, config, _ = find(copy, None, [])
    with refuses(UserError, key="--weights", place=path):
        export(path, config, "paddle", tmp_path / "again")
    with refuses(UserError, key="--weights", place=path):
        show_attention(load(path, config), "val:0", tmp_path / "attention")
    assert sorted(tmp_path.iterdir()) == [copy]


def spoil_the_weights(folder):
    file = program.weights_in(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file.name, file


def remove_the_description(folder):
    (folder / filenames.DESCRIPTION).unlink()
    return filenames.DESCRIPTION, folder


def damage_the_description(folder):
    (folder / filenames.DESCRIPTION).write_text('{"format": ["onnx"]}', encoding="utf-8")
    return filenames.DESCRIPTION, folder / filenames.DESCRIPTION


def shorten_the_description(folder):
    description = program.read(folder)
    del description["image_size"]
    (folder / filenames.DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    return filenames.DESCRIPTION, folder / filenames.DESCRIPTION


def change_the_config(folder):
    with (folder / "config.yaml").open("a", encoding="utf-8") as file:
        file.write("# mine")
    return "config.yaml", folder / "config.yaml"


@pytest.mark.parametrize(
    "spoil",
    [spoil_the_weights, remove_the_description, damage_the_description, shorten_the_description, change_the_config],
)
def test_a_spoilt_export_is_refused(copy, spoil):
    key, place = spoil(copy)
    with refuses(UserError, key=key, place=place):
        loaded(copy)


def test_a_spoilt_export_is_refused_by_a_script_in_one_line(copy, monkeypatch, capsys):
    spoil_the_weights(copy)
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "predict.py", "--weights", copy, "val:0")
    assert exit.value.code == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines(True) if not line.startswith("config: ")]
    one_line_about("".join(lines), program.weights_in(copy))
    assert captured.out == ""


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
def test_a_config_that_contradicts_an_export_is_refused(home, override):
    key, value = override.split("=")
    with refuses(UserError, key=key, place=home / "paddle" / "inference.pdiparams") as caught:
        loaded(home / "paddle", override)
    assert str(caught.value.value) == value


def test_a_program_of_another_paddle_is_refused(home, tmp_path):
    folder = shutil.copytree(home / "paddle", tmp_path / "paddle")
    description = program.read(folder)
    (name,) = set(filenames.PADDLE_PROGRAMS) & set(description["files"])
    description["files"]["inference.other"] = description["files"].pop(name)
    (folder / name).rename(folder / "inference.other")
    (folder / filenames.DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    with refuses(UserError, key=filenames.PROGRAM, place=folder) as caught:
        loaded(folder)
    assert f"Paddle {paddle.__version__}" in str(caught.value)


@pytest.mark.parametrize("name", program.FOR_ONNX)
def test_what_is_not_installed_is_named_with_the_command(home, tmp_path, monkeypatch, capsys, name):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda wanted: find_spec(wanted) if wanted != name else None)
    if find_spec("onnx"):
        with refuses(UserError, key="onnx", value=name) as caught:
            export_again(home / "run" / "best_model.pdparams", tmp_path / "onnx")
        assert "pip install -r requirements/export.txt" in str(caught.value)
    with pytest.raises(SystemExit):
        tool(monkeypatch, "benchmark.py", "--only", "inference")
    one_line_about(capsys.readouterr().err, "pip install -r requirements/export.txt")
    assert not (tmp_path / "onnx").exists()
