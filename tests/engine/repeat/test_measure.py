import json
import shutil

import numpy as np
import pytest

from engine import filenames
from engine.config import build
from engine.errors import UserError
from engine.evaluation.groups import grouped
from engine.evaluation.runs import read_runs
from engine.repeat import measure, run, train
from engine.repeat.seeds import plan
from tests.support import archives, runs as support
from tests.support.drawing import blank_figures
from tests.support.errors import one_line_about, refuses
from tests.support.runs import MICRO, ROOT, SMALL, assert_same_run
from tests.support.scripts import tool
from tests.support.trained import write_run


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=50, test=20))


def planned(archive, folder, *numbers, overrides=()):
    return plan(MICRO, [f"data.file={archive}", *SMALL, *overrides], numbers, folder)[1]


@pytest.fixture
def seeds(nano, no_figures, archive, tmp_path):
    """Two seeds with random weights in the place of trained ones."""
    for number in (1, 2):
        write_run(tmp_path / f"seed{number}", archive, f"train.seed={number}", "data.holdout=10")
    return planned(archive, tmp_path, 1, 2, overrides=("data.holdout=10",))


@pytest.fixture
def evaluations(monkeypatch):
    """The folders that are evaluated, in order."""
    made, original = [], measure.evaluate_weights

    def evaluate_weights(weights, config, output):
        made.append((output.name, weights.name, config.data.holdout))
        return original(weights, config, output)

    monkeypatch.setattr(measure, "evaluate_weights", evaluate_weights)
    return made


def test_a_seed_is_measured_once_for_the_same_weights_and_pictures(seeds, evaluations, archive, tmp_path):
    first = measure.measure(seeds[0], filenames.FINAL)
    again = measure.measure(seeds[0], filenames.FINAL)
    for name in ("top1", "top1_interval"):
        assert again.evaluation[name] == pytest.approx(first.evaluation[name], abs=0)
    assert evaluations == [("seed1", "final_model.pdparams", 0)]
    assert first.evaluation["images"] == 20  # the test set

    copy = shutil.copy(archive, tmp_path / "copy.tar.gz")
    (elsewhere, _) = planned(copy, tmp_path, 1, 2, overrides=("data.holdout=10",))
    measure.measure(elsewhere, filenames.FINAL)
    (tmp_path / "seed1" / filenames.OUTPUTS).write_bytes(b"damaged")
    measure.measure(elsewhere, filenames.FINAL)
    (tmp_path / "seed1" / filenames.EVALUATION).write_text("{", encoding="utf-8")
    measure.measure(elsewhere, filenames.FINAL)
    assert len(evaluations) == 4


def test_other_weights_of_the_same_name_are_measured_again(seeds, evaluations, tmp_path, monkeypatch):
    measure.measure(seeds[0], filenames.FINAL)
    final = tmp_path / "seed1" / filenames.model(filenames.FINAL)
    final.write_bytes(final.read_bytes() + b".")
    monkeypatch.setattr(measure, "evaluate_weights", lambda *_: pytest.fail("again"))
    with pytest.raises(pytest.fail.Exception):
        measure.measure(seeds[0], filenames.FINAL)


def of(seed, top1):
    """A measured seed with that accuracy on 100 pictures."""
    evaluation = {"top1": top1, "top1_interval": [top1 - 0.1, top1 + 0.1], "images": 100, "split": "test set"}
    return measure.Measured(seed, {**evaluation, "provenance": {"weights_sha256": "01"}})


def test_the_table_has_mean_deviation_and_students_interval(archive, tmp_path):
    """0.50, 0.52, 0.54: deviation 0.02, interval 0.52 +- 4.3027 * 0.02 / sqrt(3) = 0.04968."""
    three = [of(seed, top1) for seed, top1 in zip(planned(archive, tmp_path, 1, 2, 3), (0.5, 0.52, 0.54), strict=True)]
    text, files = measure.write(tmp_path, three, filenames.FINAL, "A note.")
    assert files == [tmp_path / "repeat.md", tmp_path / "repeat.json"]
    assert files[0].read_text(encoding="utf-8") == text
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith("|")]
    assert rows[2:] == [
        ["1", "0.50000", "0.40000 to 0.60000"],
        ["2", "0.52000", "0.42000 to 0.62000"],
        ["3", "0.54000", "0.44000 to 0.64000"],
        ["mean", "0.52000", "0.47032 to 0.56968"],
        ["deviation (n - 1)", "0.02000", ""],
    ]
    assert text.endswith("A note.\n")
    assert "2.5 deviations" in text
    numbers = json.loads(files[1].read_text(encoding="utf-8"))
    assert [seed["seed"] for seed in numbers["seeds"]] == [1, 2, 3]
    assert numbers["mean"] == pytest.approx(0.52)
    assert numbers["deviation"] == pytest.approx(0.02)
    assert numbers["interval"] == pytest.approx([0.47032, 0.56968], abs=1e-5)


def test_one_seed_is_no_estimate_of_the_spread(archive, tmp_path):
    text, (_, file) = measure.write(tmp_path, [of(planned(archive, tmp_path, 1)[0], 0.5)], filenames.FINAL, "")
    numbers = json.loads(file.read_text(encoding="utf-8"))
    assert (numbers["mean"], numbers["deviation"], numbers["interval"]) == (0.5, None, None)
    assert "not an estimate" in text
    assert "nan" not in text


@pytest.mark.parametrize(("weights", "holdout", "warns"), [("best", 0, True), ("best", 10, False), ("final", 0, False)])
def test_the_best_of_epochs_chosen_on_the_measured_pictures_is_said_to_be_too_high(
    archive, tmp_path, weights, holdout, warns
):
    (seed,) = planned(archive, tmp_path, 1, overrides=(f"data.holdout={holdout}",))
    text, _ = measure.write(tmp_path, [of(seed, 0.5)], weights, "")
    assert (measure.BEST_IS_HIGH in text) == warns


def test_a_table_that_cannot_be_written_is_a_users_matter(archive, tmp_path):
    (tmp_path / "repeat.json").mkdir()
    with refuses(UserError, key="--output", place=tmp_path):
        measure.write(tmp_path, [of(planned(archive, tmp_path, 1)[0], 0.5)], filenames.FINAL, "")


def repeat(monkeypatch, archive, folder, numbers, *more):
    settings = [f"data.file={archive}", *SMALL, "train.epochs=2"]
    overrides = [part for setting in settings for part in ("-o", setting)]
    tool(monkeypatch, "repeat.py", "-c", MICRO, *overrides, "--output", folder, "--seeds", numbers, *more)


def test_a_missing_archive_is_downloaded_once_before_the_seeds_train(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(build, "download", lambda file, *_: done.append(file))
    monkeypatch.setattr(run, "train_all", lambda *_: done.append("training") or {1: ["failed"], 2: ["failed"]})
    with pytest.raises(SystemExit):
        repeat(monkeypatch, tmp_path / "none.tar.gz", tmp_path / "out", "1,2", "-o", "data.download=true")
    assert done == [str(tmp_path / "none.tar.gz"), "training"]


@pytest.mark.slow
def test_seeds_are_trained_measured_grouped_and_added_to(nano, no_figures, archive, tmp_path, monkeypatch, capsys):
    """One of three fails at first; the same command then does what is left, and each run is train.py's own."""
    monkeypatch.setattr(train, "SCRIPT", ROOT / "tests" / "support" / "nano_train.py")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "seed2").write_text("in the way", encoding="utf-8")
    with pytest.raises(SystemExit) as exit:
        repeat(monkeypatch, archive, folder, "1,2", "--processes", 2)
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    one_line_about(err, "seed 2", folder / "seed2.log", "--seeds 1,2")
    assert "seed 2 failed" in out
    numbers = json.loads((folder / "repeat.json").read_text(encoding="utf-8"))
    assert [seed["seed"] for seed in numbers["seeds"]] == [1]

    before = (folder / "seed1" / "final_model.pdparams").stat().st_mtime_ns
    (folder / "seed2").unlink()
    repeat(monkeypatch, archive, folder, "1,2,7")
    assert (folder / "seed1" / "final_model.pdparams").stat().st_mtime_ns == before
    numbers = json.loads((folder / "repeat.json").read_text(encoding="utf-8"))
    measured = [json.loads((folder / f"seed{n}" / "eval.json").read_text(encoding="utf-8")) for n in (1, 2, 7)]
    assert [seed["top1"] for seed in numbers["seeds"]] == [one["top1"] for one in measured]
    assert numbers["deviation"] == pytest.approx(np.std([one["top1"] for one in measured], ddof=1))
    (group,) = grouped(read_runs([folder]))
    assert [run.name for run in group.runs] == ["seed1", "seed2", "seed7"]

    with blank_figures():
        support.train(monkeypatch, archive, tmp_path / "alone", "train.seed=7", "train.epochs=2")
    assert_same_run(folder / "seed7", tmp_path / "alone")
