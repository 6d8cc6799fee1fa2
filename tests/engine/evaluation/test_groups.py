import dataclasses
import hashlib
import json

import numpy as np
import pytest

from engine.config.options import options
from engine.errors import UserError
from engine.evaluation import groups, outputs, pairs
from engine.evaluation.compare import results, tables
from engine.evaluation.groups import evaluated, grouped
from engine.evaluation.pairs import NotPaired, difference
from engine.evaluation.runs import read_runs
from engine.history import Point
from engine.metrics.quality import Predictions
from tests.engine.evaluation.test_compare import make
from tests.support.errors import refuses

MADE_ON = {"paddle": "3.3.1", "device": "cpu (Xeon, 2 threads, kernels)", "git_commit": "abc", "archive": {"md5": "01"}}
LABELS = np.arange(40) % 4


def points(*accuracies):
    return [Point(5 * i, i, "val", 1e-3, 1.0, top1, 100.0) for i, top1 in enumerate(accuracies, 1)]


def run(folder, seed, top1=0.5, *overrides, made_on=MADE_ON):
    """A finished run of two epochs."""
    settings = (f"train.seed={seed}", "train.epochs=2", *overrides)
    return make(folder, *settings, history=points(0.1, top1), made_on=made_on)


def evaluate(folder, right, labels=LABELS, weights="final_model.pdparams", **noted):
    """Leave an evaluation in which the given number of pictures, the first ones, or these pictures, are right."""
    right = np.arange(len(labels)) < right if isinstance(right, int) else right
    logits = np.eye(4, dtype=np.float32)[np.where(right, labels, (labels + 1) % 4)]
    npz = outputs.as_npz(Predictions(logits, labels, logits))
    (folder / "outputs.npz").write_bytes(npz)
    provenance = {"archive_md5": "01", "outputs_sha256": hashlib.sha256(npz).hexdigest(), **noted}
    content = {"top1": float(right.mean()), "split": "test set", "flip": False, "weights": weights}
    content["provenance"] = provenance
    (folder / "eval.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def sizes(runs):
    return [len(group.runs) for group in grouped(runs)]


def test_runs_that_differ_by_their_seed_alone_are_a_group(tmp_path):
    folders = [run(tmp_path / "micro" / f"seed{seed}", seed, 0.4 + seed / 100) for seed in (1, 2, 3)]
    (group,) = grouped(read_runs(folders))
    assert group.name == "micro"
    assert group.last() == pytest.approx([0.41, 0.42, 0.43])


@pytest.mark.parametrize("key", [key for key in options() if key != "train.seed"])
def test_another_option_that_affects_results_makes_another_group(tmp_path, key):
    one, two = read_runs([run(tmp_path / str(seed), seed) for seed in (1, 2)])
    other = dataclasses.replace(two, settings={**two.settings, key: "another"})
    assert sizes([one, other]) == ([2] if options()[key].metadata["free"] else [1, 1])


@pytest.mark.parametrize(
    ("name", "value", "apart"),
    [
        ("paddle", "2.6.2", True),
        ("device", "gpu:0 (NVIDIA A100)", True),
        ("device", "cpu (EPYC, 2 threads, kernels)", True),
        ("device", "cpu (Xeon, 1 thread, kernels)", False),
        ("archive", {"md5": "02"}, True),
        ("git_commit", "def", False),
    ],
)
def test_another_machine_is_merged_only_where_that_is_said(tmp_path, name, value, apart):
    folders = [run(tmp_path / "1", 1), run(tmp_path / "2", 2, made_on={**MADE_ON, name: value})]
    found = grouped(read_runs(folders))
    assert [len(group.runs) for group in found] == ([1, 1] if apart else [2])
    assert bool(groups.notes(found[0])) == (not apart)


def test_a_run_whose_machine_is_not_known_is_not_merged(tmp_path):
    assert sizes(read_runs([run(tmp_path / "1", 1), run(tmp_path / "2", 2, made_on=None)])) == [1, 1]


def test_two_gpus_of_one_kind_are_alike(tmp_path):
    gpus = [{**MADE_ON, "device": f"gpu:{i} (NVIDIA A100)"} for i in (0, 1)]
    assert sizes(read_runs([run(tmp_path / str(i), i, made_on=gpu) for i, gpu in enumerate(gpus)])) == [2]


def test_the_same_seed_twice_is_no_spread_and_a_run_in_progress_no_member(tmp_path):
    folders = [run(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    folders.append(make(tmp_path / "d", "train.seed=3", "train.epochs=2", history=points(0.3), made_on=MADE_ON))
    assert [[run.name for run in group.runs] for group in grouped(read_runs(folders))] == [["a", "c"], ["b"]]


def test_the_folder_of_a_repeat_stands_for_its_runs_by_seed(tmp_path):
    for seed in (10, 9, 1):
        run(tmp_path / "micro" / f"seed{seed}", seed)
    (tmp_path / "micro" / "seed7").mkdir()  # nothing in it yet
    other = run(tmp_path / "other", 1, 0.5, "data.crop=0.5")
    assert [run.name for run in read_runs([tmp_path / "micro", other])] == ["seed1", "seed9", "seed10", "other"]
    for seed in (1, 2):
        run(tmp_path / "crop" / f"seed{seed}", seed, 0.5, "data.crop=0.5")
    found = grouped(read_runs([tmp_path / "micro", tmp_path / "crop"]))
    assert [(group.name, len(group.runs)) for group in found] == [("micro", 3), ("crop", 2)]


def test_the_table_of_groups_has_mean_deviation_and_interval(tmp_path):
    """0.50, 0.52, 0.54: deviation 0.02, interval 0.52 +- 4.3027 * 0.02 / sqrt(3) = 0.04968."""
    for seed, (last, right) in enumerate([(0.50, 20), (0.52, 21), (0.54, 22)], 1):
        evaluate(run(tmp_path / "micro" / f"seed{seed}", seed, last), right)
    text = tables(read_runs([tmp_path / "micro"]))
    rows = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in text.splitlines() if row.startswith("|")}
    assert rows["last top1: mean"] == "0.52000"
    assert rows["last top1: deviation (n - 1)"] == "0.02000"
    assert rows["last top1: 95 % interval of the mean"] == "0.47032 to 0.56968"
    assert rows["eval.json is of"] == "final_model.pdparams, test set"
    assert rows["top1 in eval.json: mean"] == "0.52500"
    assert "2.5 deviations" in text


@pytest.mark.parametrize(
    "changed", [{"weights": "best_model.pdparams"}, {"archive_md5": "02"}, {"archive_holdout": 100}]
)
def test_accuracies_of_different_things_have_no_mean(tmp_path, changed):
    folders = [run(tmp_path / str(seed), seed) for seed in (1, 2)]
    evaluate(folders[0], 20)
    evaluate(folders[1], 21)
    (group,) = grouped(read_runs(folders))
    assert evaluated(group) == [20 / 40, 21 / 40]
    evaluate(folders[1], 21, **changed)
    (group,) = grouped(read_runs(folders))
    assert evaluated(group) == []
    assert groups.notes(group)


def test_two_runs_are_compared_by_mcnemar(tmp_path):
    """Right: pictures 0 to 29 and 0 to 23 with 38 and 39: 6 are only the first's, 2 only the second's."""
    folders = [run(tmp_path / "a", 1), run(tmp_path / "b", 1, 0.5, "data.crop=0.5")]
    evaluate(folders[0], 30)
    evaluate(folders[1], np.isin(np.arange(40), [*range(24), 38, 39]))
    found = difference(*grouped(read_runs(folders)))
    assert (found.mcnemar.only_first, found.mcnemar.only_second) == (6, 2)
    assert found.mcnemar.p == pytest.approx(2 * (1 + 8 + 28) / 256)
    assert found.welch is None
    assert found.over_pictures.estimate == pytest.approx(4 / 40)
    assert found.over_pictures.low < 4 / 40 < found.over_pictures.high
    assert "+0.10000" not in tables(read_runs(folders))  # the second minus the first
    assert "-0.10000" in tables(read_runs(folders))


def two_groups(tmp_path):
    for name, overrides, all_right in (("a", (), (20, 22)), ("b", ("data.crop=0.5",), (25, 29))):
        for seed, right in enumerate(all_right, 1):
            evaluate(run(tmp_path / name / f"seed{seed}", seed, 0.5, *overrides), right)
    return grouped(read_runs([tmp_path / "a", tmp_path / "b"]))


def test_two_groups_are_compared_over_pictures_and_over_seeds(tmp_path):
    """Means 0.525 and 0.675; variances 0.00125 and 0.005, standard error sqrt(0.003125) = 0.0559017, t = 2.6833."""
    first, second = two_groups(tmp_path)
    found = difference(second, first)
    assert found.over_pictures.estimate == pytest.approx(0.15)
    assert 0 < found.over_pictures.low < 0.15 < found.over_pictures.high
    assert found.mcnemar is None
    degrees = 0.003125**2 / (0.000625**2 + 0.0025**2)  # of Welch and Satterthwaite
    assert degrees == pytest.approx(1.4706, abs=1e-4)
    assert found.welch.difference.estimate == pytest.approx(0.15)
    assert found.welch.p == pytest.approx(0.1591, abs=5e-3)
    assert pairs.section([first, second]) == pairs.section([first, second])


def test_pictures_that_are_not_the_same_are_not_paired(tmp_path):
    _, second = two_groups(tmp_path)
    changes = {
        "archive_md5": {"archive_md5": "02"},
        "archive_holdout": {"archive_holdout": 40, "archive_holdout_split": "random"},
        "number their classes": {"labels": LABELS[::-1].copy()},
    }
    for name, changed in changes.items():
        evaluate(second.runs[1].folder, 25, **changed)
        with pytest.raises(NotPaired) as caught:
            difference(*grouped(read_runs([tmp_path / "a", tmp_path / "b"])))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["eval.json", "outputs.npz"])
def test_without_an_evaluation_the_table_says_what_to_run(tmp_path, file):
    _, second = two_groups(tmp_path)
    (second.runs[1].folder / file).unlink()
    text = tables(read_runs([tmp_path / "a", tmp_path / "b"]))
    assert "| not paired |" in text
    assert f"python eval.py --weights {second.runs[1].folder / 'final_model.pdparams'}" in text


def test_an_evaluation_of_former_weights_is_not_taken_for_that_of_the_present_ones(tmp_path):
    first, second = two_groups(tmp_path)
    weights = second.runs[0].folder / "final_model.pdparams"
    weights.write_bytes(b"present")
    evaluate(weights.parent, 25, weights_sha256=hashlib.sha256(b"present").hexdigest())
    _, fresh = grouped(read_runs([tmp_path / "a", tmp_path / "b"]))
    assert evaluated(fresh) == evaluated(second)
    weights.write_bytes(b"after more training")
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    first, outdated = grouped(runs)
    assert evaluated(outdated) == []
    assert groups.notes(outdated)
    assert "former weights" in results(outdated.runs[0])["top1 in eval.json"]
    with pytest.raises(NotPaired, match="of former weights"):
        difference(first, outdated)


def test_what_to_run_measures_on_the_test_set_where_a_run_held_pictures_out(tmp_path):
    folders = [
        run(tmp_path / name, 1, 0.5, "data.holdout=40", f"data.crop={crop}") for name, crop in (("a", 0.5), ("b", 0.6))
    ]
    evaluate(folders[0], 20)
    assert f"--weights {folders[1] / 'final_model.pdparams'} -o data.holdout=0" in tables(read_runs(folders))
    evaluate(folders[1], 20, archive_holdout=40)
    text = tables(read_runs(folders))
    assert f"--weights {folders[1] / 'final_model.pdparams'} -o data.holdout=0" in text
    assert "-o data.file" not in text
    evaluate(folders[1], 20, archive_md5="02")
    assert "-o data.holdout=0 -o data.file=FILE" in tables(read_runs(folders))


@pytest.mark.parametrize("damage", [b"", b"PK", None])
def test_damaged_outputs_are_one_line(tmp_path, damage):
    _, second = two_groups(tmp_path)
    file = second.runs[0].folder / "outputs.npz"
    if damage is None:  # whole, but of another evaluation
        npz = outputs.as_npz(Predictions(np.eye(4, dtype=np.float32)[LABELS], LABELS, np.eye(4)[LABELS]))
        file.write_bytes(npz)
    else:
        file.write_bytes(damage)
    with refuses(UserError, key="outputs.npz", place=file):
        tables(read_runs([tmp_path / "a", tmp_path / "b"]))


def test_weights_of_different_kinds_are_compared_but_named(tmp_path):
    first, second = two_groups(tmp_path)
    plain = pairs.section([first, second])
    assert "best_model" not in plain
    for one in second.runs:
        evaluate(one.folder, 25, weights="best_model.pdparams")
    assert "best_model" in pairs.section(grouped(read_runs([tmp_path / "a", tmp_path / "b"])))


def test_only_finished_runs_reach_the_new_tables(tmp_path):
    folders = [
        make(tmp_path / name, f"train.seed={seed}", "train.epochs=2", history=points(0.3))
        for seed, name in enumerate("ab")
    ]
    assert "##" not in tables(read_runs(folders)).partition("## Results")[2]
