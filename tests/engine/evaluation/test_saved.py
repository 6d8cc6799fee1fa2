import base64
import hashlib
import json
import os
import shutil

import cv2
import numpy as np
import paddle
import pytest

import eval as eval_script
from engine import filenames
from engine.evaluation import saved
from engine.evaluation.saved import MirrorAveraged
from engine.figures.predictions import mistakes_grid, prediction_grid
from engine.metrics.evaluate import evaluate
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.metrics.quality import Predictions
from engine.output.folder import read_environments
from engine.weights import pdparams
from tests.support import archives
from tests.support.runs import MICRO, script, train
from tests.support.scripts import tool


@pytest.fixture(scope="module")
def home(nano, tmp_path_factory):
    """A folder to work in: an archive at the default place and a run at the default output of tiny's config."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "datasets").mkdir()
    archive = archives.write(folder / "datasets" / "cifar-10-python.tar.gz", archives.members(train=20, test=21))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        train(monkeypatch, archive.relative_to(folder), "output/tiny_cifar10", "train.epochs=1")
    return folder


def evaluate_in(folder, monkeypatch, *arguments):
    monkeypatch.chdir(folder)
    script(monkeypatch, eval_script.main, *arguments)


def test_a_bare_name_right_after_training_is_found_and_said(home, monkeypatch, capsys):
    evaluate_in(home, monkeypatch, "--weights", "best_model.pdparams")
    out = capsys.readouterr().out
    assert "weights: output/tiny_cifar10/best_model.pdparams" in out
    assert "config: output/tiny_cifar10/config.yaml" in out
    report = json.loads((home / "output/tiny_cifar10/eval.json").read_text())
    assert set(report) >= {"top1", "top5", "loss", "images", "images_per_second", "device", "weights"}
    assert report["images"] == 21
    assert report["weights"] == "output/tiny_cifar10/best_model.pdparams"
    assert 0 <= report["top1"] <= report["top5"] <= 1
    assert report["images_per_second"] > 0
    assert report["model_images_per_second"] > 0


def test_output_goes_where_it_is_told(home, monkeypatch, tmp_path):
    evaluate_in(home, monkeypatch, "--weights", "best_model.pdparams", "--output", tmp_path / "new" / "folder")
    grid = cv2.imread(str(tmp_path / "new" / "folder" / "predictions.png"))
    assert grid is not None
    assert len(np.unique(grid.reshape(-1, 3), axis=0)) > 100


def test_the_numbers_agree_with_each_other_and_with_trainings_log(home, monkeypatch, tmp_path):
    evaluate_in(home, monkeypatch, "--weights", "best_model.pdparams", "--output", tmp_path)
    measured = json.loads((tmp_path / "eval.json").read_text())
    confusion = np.array(measured["confusion_matrix"])
    assert confusion.sum() == measured["images"] == 21
    assert np.trace(confusion) / 21 == measured["top1"]
    assert [quality["images"] for quality in measured["per_class"]] == confusion.sum(axis=1).tolist()
    assert sum(quality["recall"] * quality["images"] for quality in measured["per_class"]) / 21 == pytest.approx(
        measured["top1"]
    )
    log = (home / "output/tiny_cifar10/train.log").read_text()
    assert f"loss: {measured['loss']:.5f}, top1: {measured['top1']:.5f}, ips" in log
    assert measured["classes"] == archives.CLASSES


def test_a_report_comes_with_every_figure(home, monkeypatch, tmp_path, capsys):
    evaluate_in(home, monkeypatch, "--weights", "best_model.pdparams", "--output", tmp_path, "--report")
    assert f"{tmp_path}/report.html" in capsys.readouterr().out
    names = {*filenames.FIGURES.values(), *filenames.CURVES.values()}
    assert {file.name for file in tmp_path.iterdir()} == {"eval.json", "report.html", *names}
    report = (tmp_path / "report.html").read_text()
    for name in names:
        picture = cv2.imread(str(tmp_path / name))
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20, name
        assert base64.b64encode((tmp_path / name).read_bytes()).decode() in report
    weights = (home / "output/tiny_cifar10/best_model.pdparams").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in report
    assert hashlib.md5((home / "datasets/cifar-10-python.tar.gz").read_bytes()).hexdigest() in report


def test_a_report_on_weights_alone_says_what_is_not_known(home, monkeypatch, tmp_path):
    shutil.copy(home / "output/tiny_cifar10/best_model.pdparams", tmp_path / "w.pdparams")
    evaluate_in(home, monkeypatch, "--weights", tmp_path / "w.pdparams", "-c", MICRO, "--report", "--device", "cpu")
    report = (tmp_path / "report.html").read_text()
    assert "no history of a run lies beside the weights" in report
    assert "no environment.json lies beside the weights" in report


@pytest.mark.parametrize("noted", ["[]", "{", '{"archive": 3}', '{"archive": {}, "resumed_on": 5}', "[" * 100_000])
def test_a_damaged_environment_json_is_one_that_is_not_known(tmp_path, noted):
    (tmp_path / "environment.json").write_text(noted)
    assert read_environments(tmp_path) == []


def test_a_report_tells_what_a_run_was_resumed_on(home, monkeypatch, tmp_path):
    folder = shutil.copytree(home / "output/tiny_cifar10", tmp_path / "run")
    begun = json.loads((folder / "environment.json").read_text())
    noted = {**begun, "resumed_on": [{**begun, "device": "another one"}]}
    (folder / "environment.json").write_text(json.dumps(noted))
    evaluate_in(home, monkeypatch, "--weights", folder / "best_model.pdparams", "--report")
    report = (folder / "report.html").read_text()
    assert "<h3>Resumed with</h3>" in report
    assert "<td>another one</td>" in report
    assert "resumed on" not in report


def test_a_damaged_history_is_told_before_the_evaluation(home, monkeypatch, tmp_path, capsys):
    folder = shutil.copytree(home / "output/tiny_cifar10", tmp_path / "run")
    (folder / "history.csv").write_text("step\n1\n")
    (folder / "eval.json").unlink(missing_ok=True)
    with pytest.raises(SystemExit) as exit:
        evaluate_in(home, monkeypatch, "--weights", folder / "best_model.pdparams", "--report")
    assert exit.value.code == 2
    assert "history.csv: not a history" in capsys.readouterr().err
    assert not (folder / "eval.json").exists()


def test_weights_that_are_replaced_while_they_are_read_are_refused(home, monkeypatch, tmp_path, capsys):
    weights = shutil.copy(home / "output/tiny_cifar10/best_model.pdparams", tmp_path / "w.pdparams")
    original = pdparams.load_weights

    def replaced(model, file):
        original(model, file)
        shutil.copy(home / "output/tiny_cifar10/latest.pdparams", file)
        with open(file, "ab") as stream:
            stream.write(b".")

    monkeypatch.setattr(pdparams, "load_weights", replaced)
    with pytest.raises(SystemExit) as exit:
        evaluate_in(home, monkeypatch, "--weights", weights, "-c", MICRO)
    assert exit.value.code == 2
    assert "replaced by others while it was read" in capsys.readouterr().err


def test_weights_that_give_nan_are_no_result(home, monkeypatch, tmp_path, capsys):
    state = pdparams.read(home / "output/tiny_cifar10/best_model.pdparams")
    huge = {key: value * np.float32(1e30) for key, value in state.items()}
    pdparams.save({tmp_path / "w.pdparams": huge})
    with pytest.raises(SystemExit) as exit:
        evaluate_in(home, monkeypatch, "--weights", tmp_path / "w.pdparams", "-c", MICRO)
    captured = capsys.readouterr()
    assert exit.value.code == 2
    assert "the model gives NaN" in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "eval.json").exists()


def test_a_folder_may_have_a_name_that_is_not_utf8(home, monkeypatch, tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"n\xe9w")
    folder.mkdir()
    shutil.copy(home / "output/tiny_cifar10/best_model.pdparams", folder / "w.pdparams")
    evaluate_in(home, monkeypatch, "--weights", folder / "w.pdparams", "-c", MICRO, "--report")
    assert "n\\udce9w" in (folder / "report.html").read_text()
    assert json.loads((folder / "eval.json").read_text())["images"] == 21


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


def test_of_a_class_without_pictures_the_report_says_nothing(home, monkeypatch, tmp_path):
    archive = archives.write(tmp_path / "nine.tar.gz", archives.members(train=20, test=9))
    arguments = ["--report", "--output", tmp_path, "-o", f"data.file={archive}"]
    evaluate_in(home, monkeypatch, "--weights", "best_model.pdparams", *arguments)
    rows = (tmp_path / "report.html").read_text().split("<tr>")
    of_each = {name: next(row for row in rows if f"<td>{name}</td>" in row) for name in archives.CLASSES}
    assert [name for name, row in of_each.items() if "–" in row] == ["truck"]
    assert "%" not in of_each["truck"]


def test_data_with_other_classes_than_the_weights_were_trained_on_are_refused(home, monkeypatch, tmp_path, capsys):
    """As many, so that only their names tell; of weights without noted names nothing is known."""
    names = [name.encode() for name in [*archives.CLASSES[:3], "ant", *archives.CLASSES[4:]]]
    content = archives.members(train=20, test=21, **{"batches.meta": {b"label_names": names}})
    archive = archives.write(tmp_path / "other.tar.gz", content)
    arguments = ["--weights", "best_model.pdparams", "--output", tmp_path, "-o", f"data.file={archive}"]
    with pytest.raises(SystemExit):
        evaluate_in(home, monkeypatch, *arguments)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"data.file: {archive} has other classes than output/tiny_cifar10/best_model.pdparams" in error
    assert "class 3 is ant, not cat" in error
    assert not (tmp_path / "eval.json").exists()

    shutil.copy(home / "output/tiny_cifar10/best_model.pdparams", tmp_path / "w.pdparams")
    evaluate_in(home, monkeypatch, "--weights", tmp_path / "w.pdparams", "-c", MICRO, *arguments[2:])
    noted = {"archive": {"classes": ["ant", "cat"]}}  # another run's
    (tmp_path / "environment.json").write_text(json.dumps(noted))
    evaluate_in(home, monkeypatch, "--weights", tmp_path / "w.pdparams", "-c", MICRO, *arguments[2:])


def test_without_a_config_beside_the_weights_tinys_is_used_and_said(home, monkeypatch, tmp_path, capsys):
    shutil.copy(home / "output/tiny_cifar10/best_model.pdparams", tmp_path / "w.pdparams")
    with pytest.raises(SystemExit) as exit:  # tiny's config, micro's weights
        evaluate_in(home, monkeypatch, "--weights", tmp_path / "w.pdparams")
    captured = capsys.readouterr()
    assert exit.value.code == 2
    assert "tiny_cifar10.yaml (no config.yaml beside the weights)" in captured.out
    assert "does not fit the model" in captured.err
    assert captured.err.count("\n") == 1


def test_a_given_config_is_the_one_used(home, monkeypatch, tmp_path):
    shutil.copy(home / "output/tiny_cifar10/best_model.pdparams", tmp_path / "w.pdparams")
    evaluate_in(home, monkeypatch, "--weights", tmp_path / "w.pdparams", "-c", MICRO, "-o", "data.num_workers=0")
    assert json.loads((tmp_path / "eval.json").read_text())["images"] == 21


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "none.pdparams"], ["none.pdparams", "neither here nor in output/tiny_cifar10"]),
        (["--weights", "sub/none.pdparams"], ["sub/none.pdparams: no such file of weights"]),
        (["--weights", "datasets"], ["datasets: no preprocessing.json, so no export"]),
        (["--weights", "best_model.pdparams", "-c", "none.yaml"], ["none.yaml: no such config"]),
        (["--weights", "best_model.pdparams", "-o", "device=gpu"], ["device: gpu"]),
        (["--weights", "best_model.pdparams", "--device", "gpu"], ["device: gpu"]),
        (["--weights", "best_model.pdparams", "--output", "datasets/cifar-10-python.tar.gz/x"], ["--output", "choose"]),
    ],
)
@pytest.mark.usefixtures("no_gpu")
def test_a_users_mistake_is_one_line(home, monkeypatch, capsys, arguments, words):
    with pytest.raises(SystemExit) as exit:
        evaluate_in(home, monkeypatch, *arguments)
    error = capsys.readouterr().err
    assert exit.value.code == 2
    assert error.count("\n") == 1
    assert all(word in error for word in words), error


MARKED = Predictions(np.float32([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), np.array([0, 0, 1]))


def test_the_grid_marks_wrong_predictions():
    figure = prediction_grid(MARKED, np.zeros([3, 8, 8, 3], np.uint8), ["cat", "dog"])
    assert not any(axes.title.get_parse_math() for axes in figure.axes)  # a class may be named $\\frac{
    titles = [(axes.get_title(), axes.title.get_color()) for axes in figure.axes]
    assert titles == [("cat\n(true: cat)", "green"), ("dog\n(true: cat)", "red"), ("dog\n(true: dog)", "green")]


def test_the_mistakes_are_drawn_with_their_pictures_and_confidence():
    images = np.zeros([3, 8, 8, 3], np.uint8)
    images[1] = 77
    (axes,) = mistakes_grid(MARKED, images, ["cat", "dog"]).axes
    assert axes.get_title() == "dog 80.0%\n(true: cat)"
    assert (axes.images[0].get_array() == 77).all()
    assert (
        "no mistakes in 1 pictures"
        in mistakes_grid(Predictions(MARKED.probabilities[:1], MARKED.labels[:1]), images[:1], ["cat", "dog"])
        .texts[0]
        .get_text()
    )


def test_evaluation_leaves_out_the_warm_up(monkeypatch):
    """The first of three batches takes a made-up minute, which must not count."""
    from engine.training import trainer

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(trainer, "time", clock)
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
    """Logits [B, 2] that tell left from right, or, `even`, that do not."""

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


def test_which_view_comes_first_does_not_matter(batches):
    model, (images, _) = MirrorAveraged(Uneven()), batches[0]
    np.testing.assert_array_equal(model(images).numpy(), model(images.flip(axis=-1)).numpy())
    assert not np.array_equal(Uneven()(images).numpy(), Uneven()(images.flip(axis=-1)).numpy())


def test_a_model_that_mirroring_does_not_change_gives_the_same_numbers(batches):
    plain, flipped = (
        evaluate(model, batches, LabelSmoothingCrossEntropy(0.1), num_classes=2)
        for model in (Uneven(even=True), MirrorAveraged(Uneven(even=True)))
    )
    assert [flipped[key] for key in ("top1", "top5", "images")] == [plain[key] for key in ("top1", "top5", "images")]
    assert flipped["loss"] == pytest.approx(plain["loss"], abs=1e-6)
    np.testing.assert_allclose(flipped["predictions"].probabilities, plain["predictions"].probabilities, atol=1e-6)


def test_certain_predictions_have_a_finite_loss():
    images = paddle.to_tensor([500.0, -500.0, 0.0]).reshape([1, 3, 1, 1]).expand([1, 3, 2, 2])
    ((certain, impossible),) = MirrorAveraged(Uneven())(images).tolist()
    assert certain == pytest.approx(0, abs=1e-6)
    assert -1001 < impossible < -60  # Paddle's log_softmax ends at -64 on a CPU


def test_flip_is_noted_in_the_results_and_the_report(home, monkeypatch, tmp_path, capsys):
    timed = []
    monkeypatch.setattr(saved, "throughput", lambda model, *arguments: timed.append(model) or 1.0)
    for folder, flags in (("plain", []), ("flip", ["--flip", "--report"])):
        evaluate_in(home, monkeypatch, "--weights", "best_model.pdparams", "--output", tmp_path / folder, *flags)
    plain, flip = (json.loads((tmp_path / folder / "eval.json").read_text()) for folder in ("plain", "flip"))
    assert (plain["flip"], flip["flip"]) == (False, True)
    assert plain["loss"] != flip["loss"]
    assert [type(model).__name__ for model in timed] == ["RegionViT", "MirrorAveraged"]
    assert capsys.readouterr().out.count("each averaged with its mirror image") == 1
    assert "each averaged with its mirror image" in (tmp_path / "flip" / "report.html").read_text()
