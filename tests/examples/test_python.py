import ast
import re
import sys

import pytest

from tests.support.archives import CLASSES
from tests.support.examples import AS_TRAINED, EXAMPLES, IN_8_BITS, IN_FLOAT32, agree, changed, python, refused, start
from tests.support.runs import ROOT

FOLDER = EXAMPLES / "python"
WITHOUT_PADDLE = ["with_onnxruntime.py", "with_openvino.py"]
NEEDED = {"argparse", "json", "pathlib", "sys", "cv2", "numpy", "PIL", "onnxruntime", "classify", "steps"}
# Equal to 1e-6 where this was written; but OpenVINO may round a number to int8 otherwise (docs/en/deployment.md), and
# the run's temperature makes that ten times as large.
CLOSE_IN_INT8 = 0.05


def script(name):
    """Return the command that starts an example; Paddle's in the test's own Python, whose settings it ignores."""
    return [sys.executable, "-E", "-s", FOLDER / name] if name == "with_paddle.py" else [python(), FOLDER / name]


def imported(file):
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}


def lines(file):
    return len(file.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("names", [["in_one_file.py"], ["with_onnxruntime.py", "classify.py", "steps.py"]])
def test_the_examples_with_onnxruntime_need_neither_paddle_nor_this_project(names):
    assert set().union(*(imported(FOLDER / name) for name in names)) <= NEEDED


def test_one_file_of_less_than_40_lines_is_enough():
    assert lines(FOLDER / "in_one_file.py") < 40
    assert not imported(FOLDER / "in_one_file.py") & {file.stem for file in FOLDER.iterdir()}


def test_the_page_says_how_long_the_examples_are():
    page = (ROOT / "docs" / "en" / "examples.md").read_text(encoding="utf-8")
    said = {name: int(count) for name, count in re.findall(r"`(\w+\.py)` \((\d+) lines\)", page)}
    assert said == {file.name: lines(file) for file in FOLDER.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("with_onnxruntime.py", AS_TRAINED),
        ("with_onnxruntime.py", IN_FLOAT32),
        ("with_onnxruntime.py", IN_8_BITS),
        ("with_openvino.py", AS_TRAINED),
    ],
)
def test_probabilities_of_an_onnx_export_are_those_of_predict(run, pictures, name, overrides):
    command, export = script(name), run.export("onnx", "float32", overrides)
    agree(start(command, export, *pictures.values()), pictures.values(), run.predicted(export, *pictures.values()))


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [AS_TRAINED, IN_FLOAT32, IN_8_BITS])
def test_so_are_those_of_the_one_file(run, pictures, overrides):
    export = run.export("onnx", "float32", overrides)
    for picture in (pictures[name] for name in ("photo.jpg", "turned.jpg", "transparent.png", "small.png")):
        done = start(script("in_one_file.py"), export, picture)
        done.stdout = f"{picture}\n" + "".join(f"  {line}\n" for line in done.stdout.splitlines())
        agree(done, [picture], run.predicted(export, picture))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "within"), [("with_onnxruntime.py", 1e-4), ("with_openvino.py", CLOSE_IN_INT8)])
def test_so_are_those_in_int8(run, pictures, name, within):
    command, export = script(name), run.export("onnx", "int8")
    expected = run.predicted(export, *pictures.values())
    agree(start(command, export, *pictures.values()), pictures.values(), expected, within)


@pytest.mark.slow
def test_so_are_those_of_an_export_for_paddle(run, pictures):
    export = run.export("paddle", "float32", IN_FLOAT32)
    done = start(script("with_paddle.py"), export, *pictures.values())
    agree(done, pictures.values(), run.predicted(export, *pictures.values()))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_PADDLE)
def test_what_cannot_be_used_is_one_line(run, pictures, tmp_path, name):
    command, export, picture = script(name), run.export(), pictures["photo.jpg"]
    for_paddle = run.export("paddle", "float32", IN_FLOAT32)
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    older = changed(export, tmp_path / "older", lambda description: description.pop("steps"))
    refused(start(command, older, picture), older, "steps")
    of_maps = changed(export, tmp_path / "maps", lambda description: description.update(task="features"))
    refused(start(command, of_maps, picture), of_maps, "--features")
    refused(start(command, tmp_path, picture), tmp_path)
    refused(start(command, for_paddle, picture), for_paddle, "onnx")
    refused(start(command, export, tmp_path / "nothing.png"), "nothing.png")
    refused(start(command, export, tmp_path / "text.png"), "text.png")


@pytest.mark.slow
def test_the_one_file_refuses_in_one_line(run, pictures, tmp_path):
    command, export = script("in_one_file.py"), run.export()
    refused(start(command, tmp_path, pictures["photo.jpg"]), tmp_path)
    refused(start(command, export, tmp_path / "nothing.png"), "nothing.png")
    refused(start(command, export, pictures["16 bits.png"]), "16 bits.png")
    refused(start(command, export))


@pytest.mark.slow
def test_a_program_that_this_paddle_does_not_read_is_one_line(run, pictures, tmp_path):
    export = changed(run.export("paddle", "float32", IN_FLOAT32), tmp_path / "export", lambda description: None)
    for name in ("inference.json", "inference.pdmodel"):
        (export / name).unlink(missing_ok=True)
    done = start(script("with_paddle.py"), export, pictures["photo.jpg"])
    assert done.returncode == 2
    assert str(export) in done.stderr.splitlines()[-1]
    assert "inference.pdmodel" in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("step", [{"op": "sharpen"}, {"op": "crop", "to": "upper square"}], ids=lambda step: step["op"])
def test_a_step_that_is_not_known_is_refused(run, pictures, tmp_path, step):
    command = script("with_onnxruntime.py")
    export = changed(run.export(), tmp_path / "export", lambda description: description["steps"].insert(1, step))
    refused(start(command, export, pictures["photo.jpg"]), *step.values())


@pytest.mark.slow
def test_classes_without_names_are_numbered(run, pictures, tmp_path):
    command, picture = script("with_onnxruntime.py"), pictures["photo.jpg"]
    export = changed(run.export(), tmp_path / "export", lambda description: description.update(classes=None))
    (predicted,) = run.predicted(run.export(), picture)
    numbered = {f"class {CLASSES.index(name)}": probability for name, probability in predicted.items()}
    agree(start(command, export, picture), [picture], [numbered])
