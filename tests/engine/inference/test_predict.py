import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import weakref

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from PIL import Image

import data
from data import pictures
from engine.config import build
from engine.errors import UserError
from engine.inference.predict import (
    BATCH,
    DRAWN,
    Answers,
    Prediction,
    Skipped,
    as_line,
    columns,
    grid,
    predict,
    write,
)
from engine.inference.trained import Trained, find, load
from engine.metrics.evaluate import evaluate
from engine.weights.temperature import write_note
from models import build_model
from tests.support import archives
from tests.support.device import DEVICE
from tests.support.drawing import colours
from tests.support.errors import one_line_about, refuses
from tests.support.runs import ROOT
from tests.support.scripts import tool
from tests.support.trained import write_run

pytestmark = pytest.mark.usefixtures("nano")
PICTURES = 130  # two whole batches and a part of one


@pytest.fixture(scope="module")
def home(nano, tmp_path_factory):
    """Weights in `run`, their archive, and the archive's validation pictures as PNGs in `val`."""
    folder = tmp_path_factory.mktemp("home")
    archive = archives.write(folder / "cifar.tar.gz", archives.members(train=40, test=PICTURES))
    write_run(folder / "run", archive)
    (folder / "val").mkdir()
    for i, image in enumerate(data.load(archive).val.images):
        Image.fromarray(image).save(folder / "val" / f"{i:03}.png")
    return folder


@pytest.fixture
def run_copy(home, tmp_path):
    """The weights and config alone, to put other things beside them."""
    for name in ("best_model.pdparams", "config.yaml"):
        shutil.copy(home / "run" / name, tmp_path)
    return tmp_path


def loaded(folder, *overrides):
    return load(*find(folder / "best_model.pdparams", None, overrides)[:2])


def run_tool(monkeypatch, capsys, folder, *arguments):
    """Run the tool; return its exit status, lines on stdout, and lines on stderr without the one about the config."""
    capsys.readouterr()
    status = 0
    try:
        tool(monkeypatch, "predict.py", "--weights", folder / "best_model.pdparams", *arguments)
    except SystemExit as exit:
        status = exit.code
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), [x for x in captured.err.splitlines() if not x.startswith("config: ")]


@pytest.fixture
def broken(tmp_path):
    file = tmp_path / "broken\nof a kind.png"
    file.write_text("no picture", encoding="utf-8")
    return file


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_pngs_of_validation_pictures_are_predicted_as_evaluation_does(home, pipeline, image_size):
    trained = loaded(home / "run", f"data.pipeline={pipeline}", f"data.image_size={image_size}")
    loader = build.build_val_loader(trained.config, trained.dataset)
    with paddle.no_grad():
        expected = np.concatenate([F.softmax(trained.model(images), axis=-1).numpy() for images, _ in loader])
    result = evaluate(trained.model, loader, build.build_criterion(trained.config), 10)
    classes, note = trained.class_names()
    assert note is None
    answers = list(predict(trained, pictures.find([home / "val"])[0], classes, top=10))
    assert [answer.picture for answer in answers] == [str(home / "val" / f"{i:03}.png") for i in range(PICTURES)]
    ours = np.empty_like(expected)
    for row, answer in zip(ours, answers, strict=True):
        assert [guess["class"] for guess in answer.top] == [archives.CLASSES[guess["index"]] for guess in answer.top]
        row[[guess["index"] for guess in answer.top]] = [guess["probability"] for guess in answer.top]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)
    first = [answer.top[0]["index"] for answer in answers]
    assert np.mean(first == trained.dataset.val.labels) == result.top1


def test_a_validation_picture_is_the_same_by_number_and_as_a_file(home):
    trained = loaded(home / "run")
    for name in (0, 7, PICTURES - 1):
        np.testing.assert_array_equal(trained.picture(f"val:{name}"), trained.picture(home / "val" / f"{name:03}.png"))


def test_classes_come_by_probability_and_no_more_than_there_are(home):
    trained = loaded(home / "run")
    for top, count in [(1, 1), (5, 5), (99, 10)]:
        (answer,) = predict(trained, ["val:3"], archives.CLASSES, top)
        probabilities = [guess["probability"] for guess in answer.top]
        assert len(probabilities) == count
        assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-6)


def test_no_more_than_a_batch_of_pictures_is_read_ahead(home, monkeypatch):
    trained, read = loaded(home / "run"), []
    monkeypatch.setattr(pictures, "read", lambda name: read.append(name) or np.zeros([40, 40, 3], np.uint8))
    answers = predict(trained, map(str, range(1000)), archives.CLASSES)
    for _ in range(BATCH + 1):
        assert len(read) <= BATCH
        next(answers)
    assert len(read) == 2 * BATCH


@pytest.mark.parametrize("options", [[], ["--json"], ["--output", "out"]])
def test_memory_is_bounded_by_a_batch_and_by_what_is_drawn(home, tmp_path, monkeypatch, capsys, options):
    """Each picture is watched: of 130 no more are alive than a batch has, and those that the grid shows."""
    alive, most = weakref.WeakValueDictionary(), []

    def picture(trained, name, original=Trained.picture):
        alive[name] = made = original(trained, name).copy()
        most.append(len(alive))
        return made

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trained, "picture", picture)
    monkeypatch.setattr("engine.inference.predict.BATCH", 8)
    monkeypatch.setattr("engine.inference.predict.DRAWN", 3)
    status, lines, _ = run_tool(monkeypatch, capsys, home / "run", home / "val", *options)
    assert (status, len(most)) == (0, PICTURES)
    assert max(most) <= 8 + (3 if "--output" in options else 0) + 1  # one has just been yielded
    if "--json" in options:
        assert len(json.loads("\n".join(lines))["predictions"]) == PICTURES


def test_answers_are_kept_on_disk(monkeypatch):
    image, top = np.zeros((1, 1, 3), np.uint8), [{"class": "c" * 20_000, "index": 0, "probability": 0.5}]
    tracemalloc.start()
    try:
        with Answers(draws=True) as answers:
            for i in range(200):  # 4 MB of text
                answers.add(Prediction(str(i), image, top))
            assert sum(map(len, answers.document())) > 4e6
            assert len(answers.drawn) == DRAWN
            assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def test_a_line_a_picture_in_columns(home, monkeypatch, capsys):
    status, lines, notes = run_tool(monkeypatch, capsys, home / "run", "val:3", home / "val" / "003.png", "val:11")
    assert (status, notes) == (0, [])
    assert [line.split()[0] for line in lines] == ["val:3", str(home / "val" / "003.png"), "val:11"]
    assert lines[0].split()[1:3] == lines[1].split()[1:3]
    assert all(line.count("%") == 5 for line in lines)
    assert len({line.index("%") for line in run_tool(monkeypatch, capsys, home / "run", *["val:1", "val:11"])[1]}) == 1


def test_json_is_one_document_of_all_pictures(home, broken, monkeypatch, capsys):
    again = home / "val" / "001.png"
    status, lines, notes = run_tool(monkeypatch, capsys, home / "run", "--json", again, broken, "val:130", again)
    document = json.loads("\n".join(lines))
    assert status == 1
    assert set(document) == {"temperature", "predictions", "errors"}
    assert document["temperature"] == 1
    one, two = document["predictions"]
    assert one["picture"] == two["picture"] == str(again)
    for first, second in zip(one["top"], two["top"], strict=True):
        assert first == {**second, "probability": pytest.approx(second["probability"], abs=1e-6)}
    assert [set(guess) for guess in one["top"]] == [{"class", "index", "probability"}] * 5
    assert [error["picture"] for error in document["errors"]] == [str(broken), "val:130"]
    assert str(broken) in document["errors"][0]["error"]
    assert "val:129" in document["errors"][1]["error"]  # the last that there is
    assert len(notes) == 2


def test_a_broken_picture_is_named_in_one_line_and_the_others_predicted(home, broken, monkeypatch, capsys):
    status, lines, notes = run_tool(monkeypatch, capsys, home / "run", "val:0", broken, "none.jpg", "val:x", "val:1")
    assert status == 1
    assert [line.split()[0] for line in lines] == ["val:0", "val:1"]
    assert len(notes) == 3
    for note, parts in zip(notes, (["broken\\nof a kind.png"], ["none.jpg"], ["val:x", "val:129"]), strict=True):
        assert all(part in note for part in parts), note


def test_when_every_picture_is_broken_the_json_is_whole(home, broken, tmp_path, monkeypatch, capsys):
    options = ["--json", "--output", tmp_path / "out"]
    status, lines, _ = run_tool(monkeypatch, capsys, home / "run", broken, *options)
    assert status == 1
    assert json.loads("\n".join(lines))["predictions"] == []
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["predictions.json"]


def test_output_has_the_document_and_a_grid(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("engine.inference.predict.DRAWN", 6)  # fewer than there are, and quick to draw
    output = tmp_path / "new" / "folder"
    status, lines, notes = run_tool(monkeypatch, capsys, home / "run", home / "val", "--json", "--output", output)
    assert status == 0
    assert (output / "predictions.json").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    drawn = cv2.imread(str(output / "predictions.png"))
    assert drawn.shape[0] < 300  # one row: not all 130
    assert colours(output / "predictions.png") > 100
    assert notes == [f"written: {output}/predictions.json, {output}/predictions.png"]


def test_the_grid_says_class_probability_and_name():
    names = ["a.png", "some/folder/with/" + "long" * 10 + ".png", "line\nbreak.png"]
    guess = {"class": r"$\frac{", "index": 0, "probability": 0.934}
    answers = [Prediction(name, np.zeros([32, 32, 3], np.uint8), [guess]) for name in names]
    titles = [axes.get_title() for axes in grid(answers).axes]
    assert titles[0] == "$\\frac{ 93%\na.png"
    assert titles[1] == "$\\frac{ 93%\nlonglongl…nglong.png"
    assert titles[2] == "$\\frac{ 93%\nline\\nbreak.png"


def test_names_in_any_letters_are_printed_and_drawn(home, tmp_path, monkeypatch, capsys, recwarn):
    strange = [
        "日本.png",
        "-dash.png",
        "a\nb.png",
        "\x1b[31m.png",
        "$\\frac{.png",
        "val:1.png",
        os.fsdecode(b"\xff.png"),
    ]
    monkeypatch.chdir(tmp_path)
    for name in strange:
        shutil.copy(home / "val" / "000.png", tmp_path / name)
    status, lines, notes = run_tool(monkeypatch, capsys, home / "run", ".", "--top", 1, "--output", tmp_path / "out")
    assert status == 0
    assert len(notes) == 1
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
    shown = ["日本.png", "-dash.png", "a\\nb.png", "\\x1b[31m.png", "$\\frac{.png", "val:1.png", "\\udcff.png"]
    assert {line.split()[0] for line in lines} == set(shown)
    document = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert {prediction["picture"] for prediction in document["predictions"]} == set(strange)


@pytest.mark.parametrize("damage", [None, "", "{", "[]", "[" * 100_000, '{"archive": {"classes": ["a", 3]}}'])
def test_class_names_come_from_the_archive_where_none_are_noted(run_copy, damage):
    if damage is not None:
        (run_copy / "environment.json").write_text(damage, encoding="utf-8")
    assert loaded(run_copy).class_names() == (archives.CLASSES, None)


def test_class_names_noted_beside_the_weights_need_no_archive(run_copy):
    names = [f"kind {i}" for i in range(10)]
    (run_copy / "environment.json").write_text(json.dumps({"archive": {"classes": names}}), encoding="utf-8")
    assert loaded(run_copy, "data.file=none.tar.gz").class_names() == (names, None)
    (run_copy / "environment.json").write_text(
        json.dumps({"archive": {"classes": names[:9]}}), encoding="utf-8"
    )  # of another run
    assert loaded(run_copy).class_names() == (archives.CLASSES, None)


@pytest.mark.parametrize("archive", ["none", "broken", "of three classes"])
def test_class_names_that_had_to_be_made_up_are_said_so(home, run_copy, archive, monkeypatch, capsys):
    file = run_copy / "other.tar.gz"
    if archive == "broken":
        file.write_bytes((home / "cifar.tar.gz").read_bytes()[:1000])
    elif archive == "of three classes":
        names = {b"label_names": [b"a", b"b", b"c"]}
        members = archives.members(train=5, test=1, **{"batches.meta": names})
        archives.write(file, members)
    arguments = [home / "val" / "000.png", "-o", f"data.file={file}"]
    status, lines, notes = run_tool(monkeypatch, capsys, run_copy, *arguments)
    assert status == 0
    assert lines[0].count("class ") == 5
    assert len(notes) == 1
    assert str(file) in notes[0]
    assert "environment.json" in notes[0]


def test_a_noted_temperature_divides_the_logits_of_every_picture(home, run_copy, monkeypatch, capsys):
    weights, temperature = run_copy / "best_model.pdparams", 0.25
    plain = loaded(run_copy)
    images = np.stack([plain.picture(f"val:{i}") for i in range(3)])
    with paddle.no_grad():
        logits = plain.model(plain.normalised(images)).numpy().astype("float64") / temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(plain.probabilities(images) - expected).max() > 1e-3
    note = write_note(weights, temperature, plain.sha256, 20, "held-out training pictures")
    np.testing.assert_allclose(loaded(run_copy).probabilities(images), expected, atol=1e-6)
    status, lines, notes = run_tool(monkeypatch, capsys, run_copy, "--json", "val:0", "val:1", "val:2")
    document = json.loads("\n".join(lines))
    assert (status, document["temperature"]) == (0, temperature)
    assert [answer["top"][0]["probability"] for answer in document["predictions"]] == pytest.approx(
        expected.max(axis=1), abs=1e-6
    )
    assert len(notes) == 1
    assert str(note) in notes[0]
    tool(monkeypatch, "show_attention.py", "--weights", weights, "val:0", "--output", run_copy / "attention")
    shown = capsys.readouterr().out
    assert str(note) in shown
    assert f"({100 * expected[0].max():.1f} %)" in shown


def test_the_archive_is_read_once(home, monkeypatch):
    trained, times = loaded(home / "run"), []
    monkeypatch.setattr(
        build, "build_dataset", lambda *what, of=build.build_dataset, **how: times.append(1) or of(*what, **how)
    )
    list(predict(trained, [f"val:{i}" for i in range(5)], archives.CLASSES))
    assert len(times) == 1


def test_columns_stand_below_each_other_whatever_letters_names_have(home):
    names, classes = ["图片.png", "b.png"], ["小狗", "cat"]
    widths = columns(names, classes)
    assert widths == (8, 4)
    image = np.zeros((32, 32, 3), np.uint8)
    lines = [
        as_line(Prediction(name, image, [{"class": what, "probability": 0.5}]), widths)
        for name, what in zip(names, classes, strict=True)
    ]
    assert lines == ["图片.png  小狗   50.0%", "b.png     cat    50.0%"]


def test_the_document_is_written_as_it_reads_and_printed_as_any_terminal_can(tmp_path):
    read = Prediction("图片.png", np.zeros((32, 32, 3), np.uint8), [{"class": "猫", "probability": 1.0}])
    with Answers(draws=True) as answers:
        for answer in (read, Skipped("\udce9.png", "odd")):
            answers.add(answer)
        (document, _) = write(answers, tmp_path)
        printed = "".join(answers.document())
    text = document.read_text(encoding="utf-8")
    assert '"猫"' in text
    assert "图片.png" in text
    assert json.loads(text)["errors"] == [{"picture": "\udce9.png", "error": "odd"}]
    assert printed.isascii()
    assert printed == json.dumps(json.loads(text), indent=2)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_document_is_laid_out_as_json_dumps_does(count):
    error, top = {"picture": "b", "error": "x"}, [{"class": "c\u2028\x85", "index": 0, "probability": 0.1}]
    with Answers() as answers:
        for _ in range(count):
            answers.add(Prediction("a", np.zeros((1, 1, 3), np.uint8), top))
            answers.add(Skipped("b", "x"))
        whole = {"temperature": 1.0, "predictions": count * [{"picture": "a", "top": top}], "errors": count * [error]}
        for ensure_ascii in (True, False):
            document = "".join(answers.document(ensure_ascii))
            assert document == json.dumps(whole, indent=2, ensure_ascii=ensure_ascii)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["EMPTY"], ["EMPTY"]),
        (["val:0", "-o", "data.file=none.tar.gz"], ["none.tar.gz"]),
        (["val:0", "-c", "none.yaml"], ["none.yaml"]),
        (["val:0", "-o", "model.name=regionvit_tiny_224"], ["best_model.pdparams", "cls_token"]),
        (["val:0", "--weights", "none/w.pdparams"], ["none/w.pdparams"]),
        (["val:0", "--device", "gpu"], ["device", "gpu"]),
        (["val:0", "--output", "FILE"], ["--output", "FILE"]),
        (["val:0", "--top", "0"], ["--top", "0"]),
        ([], ["PICTURE"]),
    ],
)
@pytest.mark.usefixtures("no_gpu")
def test_a_users_mistake_is_one_line(home, tmp_path, monkeypatch, capsys, arguments, parts):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    files = {"EMPTY": tmp_path / "empty", "FILE": tmp_path / "file"}
    arguments, parts = ([files.get(x, x) for x in texts] for texts in (arguments, parts))
    status, lines, notes = run_tool(monkeypatch, capsys, home / "run", *arguments)
    assert (status, lines) == (2, [])
    one_line_about("\n".join(notes) + "\n", *parts)


def test_a_validation_picture_that_does_not_exist_is_refused_by_its_name(home):
    for name in (f"val:{PICTURES}", "val:x", "val:-1"):
        with refuses(pictures.PictureError, key="PICTURE", value=name, place=home / "cifar.tar.gz"):
            loaded(home / "run").picture(name)


def test_a_model_that_gives_nan_is_refused(home, monkeypatch):
    trained = loaded(home / "run")
    monkeypatch.setattr(trained.model, "forward", lambda x: paddle.full([len(x), 10], float("nan")))
    with refuses(UserError, key="--weights", place=trained.weights) as caught:
        list(predict(trained, ["val:0"], archives.CLASSES))
    assert "NaN" in str(caught.value)


@pytest.mark.slow
def test_stdout_has_the_document_alone_and_a_reader_may_leave(home, tmp_path):
    """In processes of their own, where Paddle too writes what it likes."""
    paddle.save(build_model("regionvit_tiny_224", num_classes=10).state_dict(), str(tmp_path / "w.pdparams"))
    names = [home / "val" / f"{i:03}.png" for i in range(3)]
    options = ["-o", f"data.file={home / 'cifar.tar.gz'}", "-o", "data.image_size=32", "--device", DEVICE]
    command = [sys.executable, "tools/predict.py", "--weights", tmp_path / "w.pdparams", *names, *options]
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == len(names)
    assert done.stderr.count("\n") == 1  # which config is used
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        process.stdout.close()
        assert process.stderr.read().count("\n") == 1
    assert process.returncode == 0
