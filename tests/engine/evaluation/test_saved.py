import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import sys

import cv2
import numpy as np
import paddle
import pytest

import eval as eval_script
from common.errors import InputError
from engine import filenames
from engine.config.load import load_config
from engine.errors import UserError
from engine.evaluation import saved
from engine.evaluation.report import WHY_WORSE, _about_loss, page, report_curves
from engine.evaluation.saved import MirrorAveraged, evaluate_weights
from engine.figures.predictions import ON_A_PHONE
from engine.history import read_history
from engine.inference.trained import find, load
from engine.metrics.evaluate import evaluate
from engine.metrics.interval import interval
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.output.folder import read_environments
from engine.weights import pdparams
from tests.support import archives
from tests.support.drawing import DOT, blank_figures, colours
from tests.support.errors import one_line_about, refuses
from tests.support.runs import MICRO, script, train
from tests.support.scripts import tool

RUN = "output/tiny_cifar10"
REPORTED = {*filenames.FIGURES.values(), *filenames.CURVES.values()}


@pytest.fixture(scope="module")
def home(nano, tmp_path_factory):
    """A folder to work in: an archive at the default place and a run at the default output of tiny's config."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "datasets").mkdir()
    archive = archives.write(folder / "datasets" / "cifar-10-python.tar.gz", archives.members(train=20, test=21))
    with pytest.MonkeyPatch.context() as monkeypatch, blank_figures():
        monkeypatch.chdir(folder)
        train(monkeypatch, archive.relative_to(folder), RUN, "train.epochs=1")
    return folder


@pytest.fixture
def in_home(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


@pytest.fixture(scope="module")
def reported(home):
    """What eval.py prints for a bare name, with a report, and the folder that it writes, right after training."""
    output, printed = home / "new" / "folder", io.StringIO()
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.redirect_stdout(printed):
        monkeypatch.setattr(saved, "SECONDS", 0.1)
        monkeypatch.chdir(home)
        arguments = ["--weights", "best_model.pdparams", "--output", str(output), "--report"]
        monkeypatch.setattr(sys, "argv", ["eval.py", *arguments])
        eval_script.main()
    return printed.getvalue(), output


@pytest.fixture
def alone(home, tmp_path):
    """The weights alone, in a folder of their own."""
    return shutil.copy(home / RUN / "best_model.pdparams", tmp_path / "w.pdparams")


def evaluate_in(folder, monkeypatch, *arguments):
    monkeypatch.chdir(folder)
    script(monkeypatch, eval_script.main, *arguments)


def measured(weights, output, *overrides, config=None, **options):
    """Evaluate weights, without drawing."""
    path, found, _ = find(weights, config, overrides)
    with blank_figures():
        return evaluate_weights(path, found, output, **options)


def read(folder):
    return json.loads((folder / "eval.json").read_text(encoding="utf-8"))


def test_a_bare_name_right_after_training_is_found_and_logged(reported):
    printed, output = reported
    assert f"weights: {RUN}/best_model.pdparams" in printed
    assert f"config: {RUN}/config.yaml" in printed
    assert f"{output}/report.html" in printed
    report = read(output)
    assert set(report) >= {"top1", "top5", "loss", "images", "images_per_second", "device", "weights"}
    assert report["images"] == 21
    assert report["weights"] == f"{RUN}/best_model.pdparams"
    assert 0 <= report["top1"] <= report["top5"] <= 1
    assert report["images_per_second"] > 0
    assert report["model_images_per_second"] > 0


@pytest.mark.usefixtures("in_home")
def test_without_output_numbers_and_grid_go_beside_the_weights(monkeypatch, tmp_path, home):
    folder = shutil.copytree(home / RUN, tmp_path / "run")
    before = {file.name for file in folder.iterdir()}
    with blank_figures():
        evaluate_in(home, monkeypatch, "--weights", folder / "best_model.pdparams")
    assert {file.name for file in folder.iterdir()} - before == {"eval.json", "outputs.npz", "predictions.png"}


def test_the_numbers_agree_with_each_other_and_with_trainings_log(home, reported):
    measured = read(reported[1])
    confusion = np.array(measured["confusion_matrix"])
    assert confusion.sum() == measured["images"] == 21
    assert np.trace(confusion) / 21 == measured["top1"]
    assert [quality["images"] for quality in measured["per_class"]] == confusion.sum(axis=1).tolist()
    assert sum(quality["recall"] * quality["images"] for quality in measured["per_class"]) / 21 == pytest.approx(
        measured["top1"]
    )
    log = (home / RUN / "train.log").read_text(encoding="utf-8")
    losses = f"loss: {measured['loss']:.5f}, cross_entropy: {measured['cross_entropy']:.5f}"
    assert f"{losses}, top1: {measured['top1']:.5f}, train_loss" in log
    assert measured["classes"] == archives.CLASSES


def test_every_accuracy_has_its_interval_in_the_file_and_the_line_keeps_its_form(reported):
    printed, output = reported
    measured = read(output)
    assert measured["top1_interval"] == list(interval(round(measured["top1"] * 21), 21))
    assert measured["top5_interval"] == list(interval(round(measured["top5"] * 21), 21))
    for label, (row, quality) in enumerate(zip(measured["confusion_matrix"], measured["per_class"], strict=True)):
        assert quality["recall_interval"] == list(interval(row[label], sum(row)))
    low, high = measured["top1_interval"]
    assert f"top1: {measured['top1']:.5f} (95 %: {low:.5f} to {high:.5f}), top5: {measured['top5']:.5f}, " in printed


def test_a_report_comes_with_every_figure(home, reported):
    _, output = reported
    assert {file.name for file in output.iterdir()} == {"eval.json", "outputs.npz", "report.html", *REPORTED}
    report = (output / "report.html").read_text(encoding="utf-8")
    for name in REPORTED:
        assert colours(output / name) > 20, name
    for name in filenames.FIGURES.values():  # of the curves it has its own
        assert base64.b64encode((output / name).read_bytes()).decode() in report
    assert report.count("data:image/png") == len(filenames.FIGURES) + len(ON_A_PHONE) + len(filenames.CURVES)
    weights = (home / RUN / "best_model.pdparams").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in report
    assert hashlib.md5((home / "datasets/cifar-10-python.tar.gz").read_bytes()).hexdigest() in report


def page_of(numbers, folder):
    """The report on numbers of `eval.json` and weights in a folder, with empty figures."""
    return page(numbers, load_config(MICRO), dict.fromkeys(filenames.FIGURES, DOT), {}, [], folder)


def test_the_report_names_both_losses_and_says_what_label_smoothing_does(reported, tmp_path):
    """Expected: at 0.1 and ten classes the least loss is the entropy of (0.91, 0.01, ..., 0.01), which is 0.5003."""
    numbers = read(reported[1])
    report = page_of(numbers, tmp_path)
    assert f"<dt>cross entropy</dt><dd>{numbers['cross_entropy']:.4f}</dd>" in report
    assert f"<dt>loss with label smoothing 0.1</dt><dd>{numbers['loss']:.4f}</dd>" in report
    sentence = report.partition('id="about-loss">')[2].partition("</p>")[0]
    assert all(number in sentence for number in ("91%", "0.50", "calibration error of 9%"))
    plain = page_of({**numbers, "label_smoothing": 0.0, "loss": numbers["cross_entropy"]}, tmp_path)
    assert "about-loss" not in plain
    assert plain.count(f"<dd>{numbers['cross_entropy']:.4f}</dd>") == 1


def test_the_least_loss_of_the_report_is_that_of_the_criterion():
    labels, smoothed = paddle.to_tensor([2]), np.full([1, 7], 0.3 / 7)
    smoothed[0, 2] += 0.7
    least = LabelSmoothingCrossEntropy(0.3)(paddle.to_tensor(np.log(smoothed)), labels).item()
    numbers = {"label_smoothing": 0.3, "classes": list("abcdefg")}
    assert f"a loss of {least:.2f} or more" in _about_loss(numbers)


def test_the_report_says_what_the_temperature_does_or_why_none_is_used(reported, tmp_path):
    numbers = read(reported[1])
    assert "about-temperature" not in page_of(numbers, tmp_path)
    after = {"top1": numbers["top1"], "cross_entropy": 0.4321, "ece": 0.0123}
    noted = {**numbers, "about_temperature": "temperature: noted there", "calibrated": after, "temperature": 0.5}
    report = page_of(noted, tmp_path)
    sentence = report.partition('id="about-temperature">')[2].partition("</p>")[0]
    expected = ("noted there", "more confident", "Label smoothing 0.1", f"{numbers['ece']:.2%} to 1.23%", "to 0.4321")
    assert all(part in sentence for part in expected)
    assert report.count("with the temperature: ") == 2
    softer = (
        page_of({**noted, "temperature": 2.0}, tmp_path).partition('id="about-temperature">')[2].partition("</p>")[0]
    )
    assert "less confident" in softer
    assert "Label smoothing" not in softer
    ignored = {**numbers, "about_temperature": "a note: of other weights"}
    assert "a note: of other weights" in page_of(ignored, tmp_path)


def test_the_report_has_no_top5_of_five_classes(reported, tmp_path):
    numbers = read(reported[1])
    assert "<dt>top-5</dt>" in page_of(numbers, tmp_path)
    assert "<dt>top-5</dt>" not in page_of({**numbers, "top5": None}, tmp_path)


def test_the_reports_curves_say_why_training_can_look_worse_and_leave_the_notebooks_cyan_to_it(home):
    config = load_config(MICRO)
    curves = report_curves(read_history(home / RUN / "history.csv"), config)
    assert len(curves) == 2
    for png in curves:
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert not (picture == (255, 255, 0)).all(axis=2).any()  # cyan
        assert (picture == (0xB2, 0x72, 0x00)).all(axis=2).sum() > 50  # validation
    assert report_curves([], config) == []


def test_the_reasons_stand_below_the_curves(reported):
    report = (reported[1] / "report.html").read_text(encoding="utf-8")
    assert WHY_WORSE in report


def test_a_report_on_weights_alone_mentions_what_is_not_known(reported, tmp_path):
    report = page_of(read(reported[1]), tmp_path)
    assert "no history of a run lies beside the weights" in report
    assert "no environment.json lies beside the weights" in report


@pytest.mark.parametrize("noted", ["[]", "{", '{"archive": 3}', '{"archive": {}, "resumed_on": 5}', "[" * 100_000])
def test_a_damaged_environment_json_counts_as_unknown(tmp_path, noted):
    (tmp_path / "environment.json").write_text(noted, encoding="utf-8")
    assert read_environments(tmp_path) == []


def test_a_report_mentions_what_a_run_was_resumed_on(home, reported, tmp_path):
    begun = json.loads((home / RUN / "environment.json").read_text(encoding="utf-8"))
    noted = {**begun, "resumed_on": [{**begun, "device": "another one"}]}
    (tmp_path / "environment.json").write_text(json.dumps(noted), encoding="utf-8")
    report = page_of(read(reported[1]), tmp_path)
    assert "<h3>Resumed with</h3>" in report
    assert "<td>another one</td>" in report
    assert "resumed on" not in report


def test_of_a_class_without_pictures_the_report_shows_dashes(reported, tmp_path):
    numbers = read(reported[1])
    numbers["per_class"][9] = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "images": 0}  # as `per_class` has it
    rows = page_of(numbers, tmp_path).partition("</table>")[0].split("<tr>")
    by_class = {name: next(row for row in rows if f">{name}<" in row) for name in archives.CLASSES}
    assert [name for name, row in by_class.items() if "–" in row] == ["truck"]
    assert "%" not in by_class["truck"]


@pytest.mark.usefixtures("in_home")
def test_a_damaged_history_is_reported_before_the_evaluation(home, tmp_path):
    folder = shutil.copytree(home / RUN, tmp_path / "run")
    (folder / "history.csv").write_text("step\n1\n", encoding="utf-8")
    with refuses(UserError) as caught:
        measured(folder / "best_model.pdparams", folder, report=True)
    assert str(folder / "history.csv") in str(caught.value)
    assert not (folder / "eval.json").exists()


def test_weights_that_are_replaced_while_they_are_read_are_refused(home, alone, monkeypatch):
    original = pdparams.load_weights

    def replaced(model, file):
        original(model, file)
        with open(file, "ab") as stream:
            stream.write(b".")

    monkeypatch.setattr(pdparams, "load_weights", replaced)
    with refuses(UserError, key="--weights", value=str(alone), place=alone) as caught:
        load(alone, load_config(MICRO))
    assert "try again" in str(caught.value)


@pytest.mark.usefixtures("in_home")
def test_weights_that_give_nan_are_no_result(home, tmp_path):
    state = pdparams.read(home / RUN / "best_model.pdparams")
    huge = {key: value * np.float32(1e30) for key, value in state.items()}
    weights = tmp_path / "w.pdparams"
    pdparams.save({weights: huge})
    with refuses(UserError, key="--weights", value=str(weights), place=weights) as caught:
        measured(weights, tmp_path, "data.num_workers=0", config=MICRO)
    assert "NaN" in str(caught.value)
    assert not (tmp_path / "eval.json").exists()


@pytest.mark.usefixtures("in_home")
def test_a_folder_may_have_a_name_that_is_not_utf8_and_the_given_config_is_the_one_used(home, tmp_path):
    folder = tmp_path / os.fsdecode(b"n\xe9w")
    folder.mkdir()
    shutil.copy(home / RUN / "best_model.pdparams", folder / "w.pdparams")
    measured(folder / "w.pdparams", folder, "data.num_workers=0", config=MICRO, report=True)
    assert "n\\udce9w" in (folder / "report.html").read_text(encoding="utf-8")
    assert read(folder)["images"] == 21


@pytest.mark.slow
def test_classes_in_other_letters_are_drawn_without_a_word_and_noted_as_they_are(nano, monkeypatch, tmp_path, recwarn):
    odd = "\u732b\U00013000"  # a cat, and a hieroglyph that hardly a font has
    content = archives.members(train=20, test=21)
    content["batches.meta"] = {b"label_names": [name.encode() for name in [odd, *archives.CLASSES[1:]]]}
    archive, run = archives.write(tmp_path / "cifar.tar.gz", content), tmp_path / "run"
    train(monkeypatch, archive, run, "train.epochs=1")
    weights = run / "best_model.pdparams"
    script(monkeypatch, eval_script.main, "--weights", weights, "--report")
    always_the_first = paddle.to_tensor(99 * np.eye(10, dtype="float32")[0])
    paddle.save({**pdparams.load(weights), "head.bias": always_the_first}, str(weights))
    tool(monkeypatch, "show_attention.py", "--weights", weights, "val:0")
    tool(monkeypatch, "show_augmentation.py", "-c", run / "config.yaml", "--epochs", 1, "--output", run)
    assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []
    for name in ("report.html", "environment.json", "eval.json"):
        assert odd in (run / name).read_text(encoding="utf-8")


@pytest.mark.usefixtures("in_home")
def test_a_class_that_the_model_does_not_know_is_refused_by_its_name(alone, tmp_path):
    """Its number fits, so that only the name differs; of weights without noted names nothing is known."""
    names = [name.encode() for name in [*archives.CLASSES[:3], "ant", *archives.CLASSES[4:]]]
    content = archives.members(train=20, test=21, **{"batches.meta": {b"label_names": names}})
    archive = archives.write(tmp_path / "other.tar.gz", content)
    with refuses(InputError, value="ant", place=archive):
        measured("best_model.pdparams", tmp_path, f"data.file={archive}")
    assert not (tmp_path / "eval.json").exists()
    folder = archives.write_folder(tmp_path / "own", [], [archives.batch(20, 9)])
    (folder / "val" / "cat").rename(folder / "val" / "ant")
    with refuses(InputError, key="data.file", place=folder / "val" / "ant"):
        measured("best_model.pdparams", tmp_path, f"data.file={folder}", "data.name=folder", "data.side=32")

    config = load_config(MICRO, [f"data.file={archive}", "data.num_workers=0"])
    assert load(alone, config).dataset.classes[3] == "ant"
    noted = {"archive": {"classes": ["ant", "cat"]}}  # of another run
    (tmp_path / "environment.json").write_text(json.dumps(noted), encoding="utf-8")
    trained = load(alone, config)
    assert trained.noted_classes == ["ant", "cat"]
    assert trained.dataset.classes[3] == "ant"


@pytest.mark.usefixtures("in_home")
def test_a_test_set_of_ones_own_is_measured_by_the_names_of_its_classes(home, alone, reported, tmp_path, monkeypatch):
    """It is a val/ alone with three of the ten classes; and the whole set for a model with the classes in reverse.

    The pictures of the first one stay on disk, which changes nothing.
    """
    monkeypatch.setattr("data.folder.IN_MEMORY", 0)
    whole = np.array(read(reported[1])["confusion_matrix"])
    folder = archives.write_folder(tmp_path / "own", [], [archives.batch(21, 9)])
    own = [3, 5, 9]
    for name in {*archives.CLASSES} - {archives.CLASSES[label] for label in own}:
        shutil.rmtree(folder / "val" / name)
    settings = f"data.file={folder}", "data.name=folder", "data.side=32"
    result = measured("best_model.pdparams", tmp_path / "some", *settings)
    assert result["classes"] == archives.CLASSES
    confusion = np.array(result["confusion_matrix"])
    np.testing.assert_array_equal(confusion[own], whole[own])
    assert confusion.sum() == result["images"] == whole[own].sum() == 6
    assert [label for label, quality in enumerate(result["per_class"]) if quality["images"]] == own

    (tmp_path / "environment.json").write_text(
        json.dumps({"archive": {"classes": archives.CLASSES[::-1]}}), encoding="utf-8"
    )
    shutil.copy(home / RUN / "config.yaml", tmp_path)
    result = measured(alone, tmp_path / "turned")
    np.testing.assert_array_equal(result["confusion_matrix"], whole[::-1])
    assert result["classes"] == archives.CLASSES[::-1]


def test_without_a_config_beside_the_weights_tinys_is_used_and_logged(home, alone, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:  # tiny's config, micro's weights
        evaluate_in(home, monkeypatch, "--weights", alone)
    captured = capsys.readouterr()
    assert exit.value.code == 2
    assert "tiny_cifar10.yaml (no config.yaml beside the weights)" in captured.out
    one_line_about(captured.err, alone, "cls_token")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--weights", "none.pdparams"], ["--weights none.pdparams", RUN]),
        (["--weights", "sub/none.pdparams"], ["sub/none.pdparams"]),
        (["--weights", "datasets"], ["datasets: ", "preprocessing.json"]),
        (["--weights", "best_model.pdparams", "-c", "none.yaml"], ["none.yaml"]),
        (["--weights", "best_model.pdparams", "-o", "device=gpu"], ["device: gpu"]),
        (["--weights", "best_model.pdparams", "--device", "gpu"], ["device: gpu"]),
        (
            ["--weights", "best_model.pdparams", "--output", "datasets/cifar-10-python.tar.gz/x"],
            ["--output", "datasets/cifar-10-python.tar.gz/x"],
        ),
    ],
)
@pytest.mark.usefixtures("no_gpu")
def test_a_users_mistake_is_one_line(home, monkeypatch, capsys, arguments, parts):
    with pytest.raises(SystemExit) as exit:
        evaluate_in(home, monkeypatch, *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *parts)


def test_evaluation_leaves_out_the_warm_up(monkeypatch):
    """The first of three batches takes a made-up minute, which must not count."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr("engine.metrics.evaluate.time", clock)
    model = paddle.nn.Linear(4, 4)

    def forward(x, original=model.forward):
        clock.now += 60 if clock.now == 0 else 1
        return original(x)

    model.forward = forward
    batch = (paddle.ones([5, 4]), paddle.zeros([5], dtype="int64"))
    result = evaluate(model, [batch] * 3, paddle.nn.CrossEntropyLoss(), num_classes=4)
    assert result.ips == pytest.approx(5.0)


# --flip


class Uneven(paddle.nn.Layer):
    """Logits [B, 2] that depend on left and right, or with `even` do not."""

    def __init__(self, even=False):
        super().__init__()
        self.even = even

    def forward(self, x):
        x = x + x.flip(axis=-1) if self.even else x
        return paddle.stack([x[:, 0, 0, 0], x[:, 1, 0, -1]], axis=1)


@pytest.fixture
def batches():
    random = np.random.RandomState(3)
    return [
        (paddle.to_tensor(random.standard_normal((n, 3, 4, 5)), "float32"), paddle.to_tensor(random.randint(0, 2, n)))
        for n in (6, 3)
    ]


def test_flipped_predictions_are_the_average_by_hand(batches):
    model = Uneven()
    result = evaluate(MirrorAveraged(model), batches, LabelSmoothingCrossEntropy(0.1), num_classes=2)
    images, labels = (np.concatenate([batch[i].numpy() for batch in batches]) for i in range(2))
    odds = np.exp([[view[:, 0, 0, 0], view[:, 1, 0, -1]] for view in (images, images[..., ::-1])])  # view, class, B
    probabilities = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0).T
    np.testing.assert_allclose(result.predictions.probabilities, probabilities, atol=1e-6)
    assert result.top1 == (probabilities.argmax(axis=1) == labels).mean()
    log_p = np.log(probabilities)
    loss = -(0.9 * log_p[np.arange(9), labels] + 0.1 * log_p.mean(axis=1)).mean()
    assert result.loss == pytest.approx(loss, abs=1e-6)


def test_a_temperature_is_applied_to_each_view_before_the_average(batches):
    images, temperature = np.concatenate([batch[0].numpy() for batch in batches]), 0.3
    logits = np.array([[view[:, 0, 0, 0], view[:, 1, 0, -1]] for view in (images, images[..., ::-1])])  # view, class, B
    odds = np.exp(logits.astype("float64") / temperature)
    expected = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0).T
    log_p = MirrorAveraged(Uneven(), temperature)(paddle.to_tensor(images)).numpy()
    np.testing.assert_allclose(np.exp(log_p), expected, atol=1e-5)


def test_which_view_comes_first_does_not_matter(batches):
    model, (images, _) = MirrorAveraged(Uneven()), batches[0]
    np.testing.assert_array_equal(model(images).numpy(), model(images.flip(axis=-1)).numpy())
    assert not np.array_equal(Uneven()(images).numpy(), Uneven()(images.flip(axis=-1)).numpy())


def test_a_model_that_mirroring_does_not_change_gives_the_same_numbers(batches):
    plain, flipped = (
        evaluate(model, batches, LabelSmoothingCrossEntropy(0.1), num_classes=2)
        for model in (Uneven(even=True), MirrorAveraged(Uneven(even=True)))
    )
    assert (flipped.top1, flipped.top5, flipped.images) == (plain.top1, plain.top5, plain.images)
    assert flipped.loss == pytest.approx(plain.loss, abs=1e-6)
    np.testing.assert_allclose(flipped.predictions.probabilities, plain.predictions.probabilities, atol=1e-6)


def test_certain_predictions_have_a_finite_loss():
    images = paddle.to_tensor([500.0, -500.0, 0.0]).reshape([1, 3, 1, 1]).expand([1, 3, 2, 2])
    ((certain, impossible),) = MirrorAveraged(Uneven())(images).tolist()
    assert certain == pytest.approx(0, abs=1e-6)
    assert -1001 < impossible < -60  # Paddle's log_softmax ends at -64 on a CPU


def test_flip_is_noted_in_the_results_and_the_report(home, reported, monkeypatch, tmp_path, capsys):
    timed = []
    monkeypatch.setattr(saved, "throughput", lambda model, *arguments: timed.append(model) or 1.0)
    with blank_figures():
        evaluate_in(home, monkeypatch, "--weights", "best_model.pdparams", "--output", tmp_path, "--flip", "--report")
    plain, flip = read(reported[1]), read(tmp_path)
    assert (plain["flip"], flip["flip"]) == (False, True)
    assert plain["loss"] != flip["loss"]
    assert [type(model).__name__ for model in timed] == ["MirrorAveraged"]
    noted = "each averaged with its mirror image"
    assert noted in capsys.readouterr().out
    assert noted in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert noted not in reported[0]
    assert noted not in (reported[1] / "report.html").read_text(encoding="utf-8")
