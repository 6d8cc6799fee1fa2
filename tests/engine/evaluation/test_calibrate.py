"""Temperatures fitted to what a run held out. The model's logits are the same for all pictures: `SCALE` times the
logarithms of the classes' shares among held-out pictures, so that the best temperature is `SCALE`."""

import json
import re
import shutil

import numpy as np
import pytest

import eval as eval_script
from common.errors import InputError
from data.dataset import HELD_OUT
from engine.config.load import load_config
from engine.errors import UserError
from engine.evaluation.calibrate import calibrate
from engine.evaluation.saved import evaluate_weights
from engine.inference.trained import find, load
from engine.weights import pdparams
from tests.support import archives
from tests.support.drawing import blank_figures
from tests.support.errors import one_line_about, refuses
from tests.support.runs import script
from tests.support.scripts import tool
from tests.support.trained import write_run

pytestmark = pytest.mark.usefixtures("nano")
SCALE = 0.4
SHARES = np.array([8, 4, *[1] * 8]) / 20  # of the classes among training pictures
LABELS = np.repeat(np.arange(10), (20 * SHARES).astype(int)).tolist()  # of 20 pictures
HOLDOUT = "data.holdout=20", "data.holdout_split=stratified"


def write_archive(file, test=30, seed=9, labels=None):
    """100 training pictures, of which some classes have more; a test set that has as many of each, unless told."""
    content = archives.members(100, test) | {"test_batch": archives.batch(test, seed)}
    for i, name in enumerate(archives.BATCHES):
        content[name] = archives.batch(20, i, labels=LABELS)
    if labels is not None:
        content["test_batch"][b"labels"] = labels
    return archives.write(file, content)


def set_logits(weights, logits):
    state = pdparams.read(weights)
    state["head.weight"], state["head.bias"] = 0 * state["head.weight"], np.float32(logits)
    pdparams.save({weights: state})


@pytest.fixture
def run(nano, tmp_path):
    folder = write_run(tmp_path / "run", write_archive(tmp_path / "cifar.tar.gz"), *HOLDOUT)
    set_logits(folder / "best_model.pdparams", SCALE * np.log(SHARES))
    return folder


def fit(run, *overrides):
    path, config, _ = find(run / "best_model.pdparams", None, overrides)
    return calibrate(path, config)


def noted(run):
    return json.loads((run / "best_model.temperature.json").read_text(encoding="utf-8"))


def test_the_temperature_is_that_of_the_held_out_pictures_and_noted(run):
    line = fit(run)
    note = noted(run)
    assert note["temperature"] == pytest.approx(SCALE, rel=1e-4)
    assert (note["images"], note["split"]) == (20, HELD_OUT)
    entropy = -(SHARES * np.log(SHARES)).sum()
    logits = SCALE * np.log(SHARES)
    before = np.log(np.exp(logits).sum()) - (SHARES * logits).sum()
    assert note["cross_entropy"] == pytest.approx(before, abs=1e-5)
    assert note["calibrated"]["cross_entropy"] == pytest.approx(entropy, abs=1e-5)
    assert note["ece"] == pytest.approx(SHARES[0] - np.exp(logits[0]) / np.exp(logits).sum(), abs=1e-5)
    assert note["calibrated"]["ece"] == pytest.approx(0, abs=1e-4)
    assert f"{SCALE:.4f}" in line
    assert load(run / "best_model.pdparams", load_config(run / "config.yaml")).temperature == note["temperature"]


@pytest.mark.parametrize("overrides", [[], ["data.holdout=0"], ["data.holdout=50", "data.holdout_split=random"]])
def test_the_runs_own_config_says_what_was_held_out(run, overrides):
    fit(run)
    first = noted(run)
    fit(run, *overrides, "data.batch_size=7")
    assert noted(run) == {**first, "temperature": pytest.approx(first["temperature"], rel=1e-4)}


def test_the_test_pictures_have_no_say(run, tmp_path):
    """Others give the same note, but for the archive's MD5, and would give another temperature."""
    fit(run)
    first = noted(run)
    (run / "environment.json").unlink()  # which knows that MD5
    write_archive(tmp_path / "cifar.tar.gz", test=50, seed=77, labels=[0] * 49 + [1])
    fit(run)
    assert {**noted(run), "data_md5": first["data_md5"]} == first
    assert noted(run)["data_md5"] != first["data_md5"]


def test_what_was_measured_stays_and_comes_with_what_the_temperature_makes_of_it(run, monkeypatch, capsys, tmp_path):
    arguments = ["--weights", run / "best_model.pdparams", "-o", "data.holdout=0"]
    with blank_figures():
        script(monkeypatch, eval_script.main, *arguments, "--output", tmp_path / "before")
        capsys.readouterr()
        script(monkeypatch, eval_script.main, *arguments, "--output", tmp_path / "after", "--calibrate", "--report")
        printed = capsys.readouterr().out
        script(monkeypatch, eval_script.main, *arguments, "--output", tmp_path / "later")
    before, after, later = (
        json.loads((tmp_path / name / "eval.json").read_text(encoding="utf-8")) for name in ("before", "after", "later")
    )
    assert (before["temperature"], before["calibrated"], before["about_temperature"]) == (1, None, "")
    for key in ("top1", "top5", "loss", "cross_entropy", "ece", "confusion_matrix", "per_class", "split", "images"):
        assert before[key] == after[key] == later[key], key
    assert after["split"] == "test set"
    assert later["calibrated"] == after["calibrated"]
    assert after["temperature"] == noted(run)["temperature"] == pytest.approx(SCALE, rel=1e-4)
    # On the test set all classes are as frequent.
    assert after["calibrated"]["top1"] == before["top1"] == 0.1
    assert after["calibrated"]["cross_entropy"] == pytest.approx(-np.log(SHARES).mean(), abs=1e-4)
    assert after["calibrated"]["ece"] == pytest.approx(SHARES[0] - 0.1, abs=1e-4)
    assert sum(after["calibrated"]["reliability"]["images"]) == sum(after["reliability"]["images"]) == 30
    assert f"with it: the same top1, cross entropy: {after['calibrated']['cross_entropy']:.5f}" in printed
    assert str(run / "best_model.temperature.json") in printed
    report = (tmp_path / "after" / "report.html").read_text(encoding="utf-8")
    assert str(run / "best_model.temperature.json") in report.partition('id="about-temperature">')[2]


def test_prediction_evaluation_and_export_agree(run, monkeypatch, capsys, tmp_path):
    set_logits(run / "best_model.pdparams", SCALE * np.log(SHARES))
    fit(run)
    path, config, _ = find(run / "best_model.pdparams", None, ["data.holdout=0"])
    with blank_figures():
        ours = evaluate_weights(path, config, tmp_path / "ours")["calibrated"]
        flipped = evaluate_weights(path, config, tmp_path / "flipped", flip=True)["calibrated"]
    assert flipped["cross_entropy"] == pytest.approx(ours["cross_entropy"], abs=1e-6)
    tool(monkeypatch, "export.py", "--weights", path, "--output", tmp_path / "paddle")
    probabilities = []
    for weights in (path, tmp_path / "paddle"):
        capsys.readouterr()
        tool(monkeypatch, "predict.py", "--weights", weights, "val:0", "--json", "--top", 10, "-o", "data.holdout=0")
        document = json.loads(capsys.readouterr().out)
        assert document["temperature"] == noted(run)["temperature"]
        top = {guess["index"]: guess["probability"] for guess in document["predictions"][0]["top"]}
        probabilities.append([top[i] for i in range(10)])
    path, config, _ = find(tmp_path / "paddle", None, ["data.holdout=0"])
    with blank_figures():
        export = evaluate_weights(path, config, tmp_path / "export")["calibrated"]
    np.testing.assert_allclose(probabilities, [SHARES] * 2, atol=1e-4)
    np.testing.assert_allclose(*probabilities, atol=1e-6)
    assert export["cross_entropy"] == pytest.approx(ours["cross_entropy"], abs=1e-6)
    assert -np.log(probabilities[0]).mean() == pytest.approx(ours["cross_entropy"], abs=1e-6)


def test_after_the_weights_changed_the_note_is_ignored_and_said_so(run, monkeypatch, capsys, tmp_path):
    fit(run)
    set_logits(run / "best_model.pdparams", np.log(SHARES))
    arguments = ["--weights", run / "best_model.pdparams", "--output", tmp_path / "out"]
    with blank_figures():
        script(monkeypatch, eval_script.main, *arguments)
    (line,) = re.findall(".*temperature.*", capsys.readouterr().out)
    assert str(run / "best_model.temperature.json") in line
    measured = json.loads((tmp_path / "out" / "eval.json").read_text(encoding="utf-8"))
    assert (measured["temperature"], measured["calibrated"]) == (1, None)
    with blank_figures():
        script(monkeypatch, eval_script.main, *arguments, "--calibrate")
    assert noted(run)["temperature"] == pytest.approx(1, rel=1e-4)


def no_holdout(run):
    write_run(run, run.parent / "cifar.tar.gz")
    return {"key": "data.holdout", "value": 0, "place": run / "config.yaml"}


def other_data(run):
    write_archive(run.parent / "cifar.tar.gz", seed=10)
    return {"key": "data.file", "place": run.parent / "cifar.tar.gz"}


def no_data(run):
    (run.parent / "cifar.tar.gz").unlink()
    return {"key": "data.file", "place": run.parent / "cifar.tar.gz"}


@pytest.mark.parametrize("change", [no_holdout, other_data, no_data], ids=lambda change: change.__name__)
def test_what_cannot_be_fitted_is_refused_and_leaves_no_note(run, change):
    expected = change(run)
    with refuses(InputError, **expected) as caught:
        fit(run)
    assert str(caught.value).startswith("--calibrate: ")
    assert not (run / "best_model.temperature.json").exists()


def test_without_the_runs_config_nobody_knows_what_was_held_out(run, tmp_path):
    (run / "config.yaml").rename(tmp_path / "given.yaml")
    with refuses(UserError, key="--calibrate", place=run / "config.yaml"):
        calibrate(run / "best_model.pdparams", load_config(tmp_path / "given.yaml"))


def test_an_export_is_refused(run, monkeypatch, capsys):
    tool(monkeypatch, "export.py", "--weights", run / "best_model.pdparams")
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        script(monkeypatch, eval_script.main, "--weights", run / "paddle", "--calibrate")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "--calibrate", run / "paddle")


def always_right(run):
    write_run(run, run.parent / "cifar.tar.gz", "data.holdout=1", "data.holdout_split=random")
    (label,) = load(run / "best_model.pdparams", load_config(run / "config.yaml")).dataset.val.labels
    set_logits(run / "best_model.pdparams", np.eye(10)[label])
    return "of 1 picture none"


def chance(run):
    set_logits(run / "best_model.pdparams", -np.log(SHARES))
    return "no better than chance on 20 pictures"


@pytest.mark.parametrize("change", [always_right, chance], ids=lambda change: change.__name__)
def test_where_no_temperature_is_best_the_evaluation_goes_on_without(run, monkeypatch, capsys, change):
    why = change(run)
    script(monkeypatch, eval_script.main, "--weights", run / "best_model.pdparams", "--calibrate")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WARNING")]
    for part in (str(run / "best_model.pdparams"), why, "data.holdout=N"):
        assert part in line
    assert not (run / "best_model.temperature.json").exists()
    assert json.loads((run / "eval.json").read_text(encoding="utf-8"))["calibrated"] is None


def test_the_pictures_held_out_of_a_folder_are_found_again(nano, tmp_path):
    folder = archives.write_folder(
        tmp_path / "own", [archives.batch(100, 0, labels=LABELS * 5)], [archives.batch(20, 9)]
    )
    run = write_run(tmp_path / "run", folder, "data.name=folder", "data.side=32", *HOLDOUT)
    set_logits(run / "best_model.pdparams", SCALE * np.log(SHARES[np.argsort(archives.CLASSES)]))
    shutil.rmtree(folder / "val")
    fit(run)
    assert noted(run)["temperature"] == pytest.approx(SCALE, rel=1e-4)
    picture = next((folder / "train" / "cat").iterdir())
    picture.rename(picture.with_name("another name.png"))
    with refuses(UserError, key="data.file", place=folder):
        fit(run)
