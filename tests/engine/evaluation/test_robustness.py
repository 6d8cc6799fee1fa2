"""tools/robustness.py: accuracies that are known beforehand, the means, the files, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from data.corruptions import CORRUPTIONS, FROST, SEVERITIES
from data.dataset import stratified_subset
from engine import filenames
from engine.config.load import load_config
from engine.errors import UserError
from engine.evaluation import robustness, saved
from engine.evaluation.report import _about_robustness
from engine.figures.robustness import heat_map
from engine.inference.trained import find, load
from tests.support import archives
from tests.support.drawing import blank_figures, colours
from tests.support.errors import one_line_about, refuses
from tests.support.runs import MICRO
from tests.support.scripts import tool
from tests.support.trained import write_run

TEST = 40


@pytest.fixture(scope="module")
def run(nano, tmp_path_factory):
    """A folder with random weights that know the pictures of an archive."""
    folder = tmp_path_factory.mktemp("run")
    archive = archives.write(folder / "cifar.tar.gz", archives.members(train=20, test=TEST))
    return write_run(folder / "weights", archive)


@pytest.fixture(scope="module")
def trained(run):
    return load(run / "best_model.pdparams", load_config(run / "config.yaml"))


@pytest.fixture(scope="module")
def orders():
    """For each corruption and severity, which test picture stands in the place of each."""
    rng = np.random.RandomState(0)
    return {name: [rng.permutation(TEST) for _ in range(SEVERITIES)] for name in CORRUPTIONS}


@pytest.fixture(scope="module")
def cifar_10_c(trained, orders, tmp_path_factory):
    """A folder in CIFAR-10-C's layout, whose corruptions put pictures into other places."""
    folder, images = tmp_path_factory.mktemp("CIFAR-10-C"), trained.dataset.val.images
    for name, of_severities in orders.items():
        np.save(folder / f"{name}.npy", np.concatenate([images[order] for order in of_severities]))
    np.save(folder / "labels.npy", np.tile(trained.dataset.val.labels, SEVERITIES).astype(np.uint8))
    return folder


def measured(run, output, *overrides, **options):
    weights, config, _ = find(run / "best_model.pdparams", None, overrides)
    with blank_figures():
        return robustness.measure_robustness(weights, config, output, **options)


@pytest.mark.parametrize("pictures", [None, 20])
def test_accuracies_are_those_of_the_pictures_in_the_folder(run, trained, orders, cifar_10_c, tmp_path, pictures):
    val = trained.dataset.val
    predicted = trained.probabilities(val.images).argmax(axis=1)
    chosen = np.arange(TEST) if pictures is None else stratified_subset(val.labels, pictures)
    result = measured(run, tmp_path, folder=cifar_10_c, pictures=pictures)
    assert result["images"] == len(chosen)
    assert result["clean"] == pytest.approx((predicted[chosen] == val.labels[chosen]).mean())
    for name, of_severities in orders.items():
        known = [(predicted[order[chosen]] == val.labels[chosen]).mean() for order in of_severities]
        assert result["accuracy"][name] == pytest.approx(known)
    assert result["mean_error"] == pytest.approx(1 - np.mean(list(result["accuracy"].values())))
    assert (result["source"], result["comparable"]) == ("CIFAR-10-C", True)
    assert json.loads((tmp_path / "robustness.json").read_text(encoding="utf-8")) == result


def test_a_subset_has_every_class_in_proportion_and_is_always_the_same():
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], [60, 30, 10]))
    chosen = stratified_subset(labels, 20)
    assert np.bincount(labels[chosen]).tolist() == [12, 6, 2]
    assert (chosen == stratified_subset(labels, 20)).all()
    assert (np.diff(chosen) > 0).all()
    assert (stratified_subset(labels, 100) == np.arange(100)).all()
    assert {*chosen} < {*stratified_subset(labels, 50)}


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("made")
    return measured(run, output, pictures=10), output / "robustness.json"


def test_corruptions_made_here_say_so_and_do_not_depend_on_the_batch(run, made, tmp_path):
    result, _ = made
    assert result["comparable"] is False
    assert "CIFAR-10-C" not in result["source"]
    assert [*result["libraries"]] == ["numpy", "scipy", "pillow"]
    assert [*result["accuracy"]] == [name for name in CORRUPTIONS if name != FROST]
    assert any("frost" in note for note in result["notes"])
    again = measured(run, tmp_path, "data.batch_size=3", "data.pipeline=host", pictures=10)
    assert again["accuracy"] == result["accuracy"]


def test_a_baseline_normalizes_the_errors(run, made, tmp_path):
    result, _ = made
    baseline = {**result, "clean": 1.0, "accuracy": {name: [0.5] * 5 for name in result["accuracy"]}}
    (tmp_path / "base.json").write_text(json.dumps(baseline), encoding="utf-8")
    found = measured(run, tmp_path, pictures=10, baseline=tmp_path / "base.json")["baseline"]
    errors = {name: 1 - np.mean(values) for name, values in result["accuracy"].items()}
    assert found["errors"] == pytest.approx({name: error / 0.5 for name, error in errors.items()})
    assert found["mce"] == pytest.approx(np.mean(list(errors.values())) / 0.5)
    clean = 1 - result["clean"]
    assert found["relative_mce"] == pytest.approx((np.mean(list(errors.values())) - clean) / 0.5)


@pytest.mark.parametrize(
    "change",
    [{"images": 20}, {"source": "CIFAR-10-C"}, {"data_md5": "0"}, {"seed": 1}, {"libraries": {}}, {"holdout": 9}],
)
def test_a_baseline_on_other_pictures_is_refused(run, made, tmp_path, change):
    file = tmp_path / "base.json"
    file.write_text(json.dumps({**made[0], **change}), encoding="utf-8")
    with refuses(UserError, key="--baseline", value=str(file), place=file) as caught:
        measured(run, tmp_path / "out", pictures=10, baseline=file)
    assert next(iter(change)) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_baseline_on_other_held_out_pictures_is_refused(run, tmp_path):
    one, other = (f"data.holdout={count}" for count in (10, 12))
    measured(run, tmp_path, one, pictures=4)
    base = tmp_path / filenames.ROBUSTNESS
    measured(run, tmp_path / "same", one, pictures=4, baseline=base)
    with refuses(UserError, key="--baseline", place=base):
        measured(run, tmp_path / "other", other, pictures=4, baseline=base)


def test_a_baseline_under_other_corruptions_is_refused(run, made, tmp_path):
    accuracy = {name: values for name, values in made[0]["accuracy"].items() if name != "fog"}
    file = tmp_path / "base.json"
    file.write_text(json.dumps({**made[0], "accuracy": accuracy}), encoding="utf-8")
    with refuses(UserError, key="--baseline", place=file) as caught:
        measured(run, tmp_path, pictures=10, baseline=file)
    assert "fog" in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"clean": 0.5}', "[" * 100_000])
def test_a_damaged_baseline_is_refused(run, tmp_path, content):
    file = tmp_path / "base.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with refuses(UserError, key="--baseline", place=file):
        measured(run, tmp_path, pictures=10, baseline=file)
    assert robustness.of_weights(tmp_path, "") is None


def test_the_script_prints_the_table_and_the_meaning_of_each_mean(run, made, tmp_path, monkeypatch, capsys):
    result, file = made
    output = tmp_path / "new" / "folder"
    arguments = ["--weights", run / "best_model.pdparams", "--pictures", 10, "--baseline", file, "--output", output]
    tool(monkeypatch, "robustness.py", *arguments)
    lines = capsys.readouterr().out.splitlines()
    for name, values in result["accuracy"].items():
        (row,) = [line for line in lines if line.startswith("|") and line.split("|")[1].strip() == name]
        cells = [cell.strip() for cell in row.split("|")[2:-2]]
        assert cells == [f"{value:.2%}" for value in [*values, np.mean(values)]]
    for number, meaning in ((f"{result['mean_error']:.2%}", "mean_error"), ("100.00%", "mce")):
        assert f"- {number} {robustness.NAMES[meaning]}" in lines
    assert colours(output / "robustness.png") > 20


def test_overwrite_moves_the_results_aside():
    assert {"robustness.json", "robustness.png"} <= {*filenames.RUN}


def test_the_report_has_a_line_for_the_same_weights_only(run, made, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    shutil.copy(made[1], folder)
    weights, config, _ = find(folder / "best_model.pdparams", None, [])
    with blank_figures():
        saved.evaluate_weights(weights, config, folder, report=True)
    report = (folder / "report.html").read_text(encoding="utf-8")
    line = report.partition('id="about-robustness">')[2].partition("</p>")[0]
    assert f"{1 - made[0]['mean_error']:.2%}" in line
    assert "14 corruptions" in line
    assert "10 pictures (test set)" in line
    assert _about_robustness(folder, "0" * 64) == ""
    (folder / "robustness.json").write_text("{", encoding="utf-8")
    assert _about_robustness(folder, made[0]["weights_sha256"]) == ""


@pytest.mark.parametrize("count", [1, 15])
def test_a_heat_map_draws(count, tmp_path):
    names = list(CORRUPTIONS)[:count]
    figure = heat_map({name: np.linspace(1, i / 15, 5) for i, name in enumerate(names)}, 1.0, "a $title")
    figure.savefig(tmp_path / "map.png")
    assert colours(tmp_path / "map.png") > 50
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 6 * count
    assert texts[0] == "100.0%"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--pictures", "0"], ["--pictures 0", f"1 to {TEST}"]),
        (["--pictures", TEST + 1], [f"--pictures {TEST + 1}", f"1 to {TEST}"]),
        (["--data", "none"], ["--data none"]),
        (["--data", ".", "--frost", "."], ["--frost"]),
        (["--data", ".", "--seed", "3"], ["--seed"]),
        (["--seed", "-1"], ["--seed: -1"]),
        (["--data", ".", "-o", "data.name=cifar100"], ["data.name: cifar100"]),
        (["--data", ".", "-o", "data.holdout=10"], ["data.holdout: 10"]),
        (["--frost", "none"], ["--frost", "frost1.png"]),
        (["-o", "data.name=folder", "-o", "data.side=48"], ["data.side: 48", "data.side=32"]),
        (["--output", "file/x"], ["--output"]),
    ],
)
def test_a_users_mistake_is_one_line(run, tmp_path, monkeypatch, capsys, arguments, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "robustness.py", "--weights", run / "best_model.pdparams", *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *parts)


def test_pictures_of_a_folder_are_corrupted_too(nano, tmp_path):
    pictures = archives.of("folder", tmp_path, train=10, test=10)
    run = write_run(tmp_path / "run", pictures, "data.name=folder", "data.side=32")
    assert len(measured(run, tmp_path)["accuracy"]) == len(CORRUPTIONS) - 1
    assert load_config(MICRO).data.name == "cifar10"
