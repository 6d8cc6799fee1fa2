import dataclasses
import json
import math
import os
import statistics

import cv2
import pytest

from engine.config.load import dump_config, flatten, load_config
from engine.errors import UserError
from engine.evaluation import compare
from engine.evaluation.compare import NOT_YET, differences, draw, results, tables
from engine.evaluation.report import WHY_WORSE
from engine.evaluation.runs import MISSING, read_runs
from engine.history import History, Point, read_history
from tests.support.errors import one_line_about, refuses
from tests.support.runs import MICRO
from tests.support.scripts import tool

STEPS = 6  # in an epoch
MADE_ON = {"paddle": "3.3.1", "device": "cpu (two threads)", "git_commit": "abc", "archive": {"md5": "0123"}}


def points(epochs, steps=STEPS, extra=0, seed=0):
    """A history: two train points and validation in each epoch, `extra` train points of the next."""
    made = []
    for epoch in range(1, epochs + 2):
        begin = (epoch - 1) * steps
        rows = [(begin, "train"), (begin + steps - 1, "train"), (begin + steps, "val")]
        for step, split in rows if epoch <= epochs else rows[:extra]:
            top1 = [0.2, 0.5, 0.4, 0.5][(epoch + seed - 1) % 4] + (0.01 if split == "train" else 0)
            loss = 2.5 - 0.1 * step / steps - 0.01 * seed
            plain = {"cross_entropy": loss - 0.03} if split == "val" else {}
            made.append(Point(step, epoch, split, 1e-3, loss, top1, 100.0 + step % 7, **plain))
    return made


def make(folder, *overrides, history=(), made_on=None, evaluation=None):
    """Leave what a run leaves of what is compared."""
    folder.mkdir(parents=True)
    config = load_config(MICRO, [f"output_dir={folder}", *overrides])
    (folder / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    History(folder, history)
    for name, content in (("environment.json", made_on), ("eval.json", evaluation)):
        if content is not None:
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def pair(tmp_path):
    """Two finished runs with different batches: of three and of four epochs."""
    small = make(tmp_path / "small", "train.epochs=3", "data.batch_size=16", history=points(3))
    large = make(tmp_path / "large", "train.epochs=4", history=points(4, steps=3, seed=1))
    return [small, large]


def lines(axes):
    """The drawn data, [(epochs, values)]: of the first run training and validation, then of the second."""
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.get_lines()]


def test_differences_are_the_keys_whose_values_differ_and_no_others(tmp_path):
    runs = read_runs(
        [
            make(tmp_path / "a", "data.batch_size=16", "data.crop=0.5", made_on=MADE_ON),
            make(tmp_path / "b", "train.deterministic=true", made_on={**MADE_ON, "archive": {"md5": "4567"}}),
            make(tmp_path / "c", "data.crop=0.5"),
        ]
    )
    assert differences(runs) == {
        "data.batch_size": [16, 128, 128],
        "data.crop": [0.5, 0.8, 0.5],
        "train.deterministic": [False, True, False],
        "environment.paddle": ["3.3.1", "3.3.1", MISSING],
        "environment.device": ["cpu (two threads)", "cpu (two threads)", MISSING],
        "environment.git_commit": ["abc", "abc", MISSING],
        "environment.data_md5": ["0123", "4567", MISSING],
    }


def test_a_difference_in_any_key_is_seen(tmp_path):
    one, two = read_runs([make(tmp_path / name) for name in "ab"])
    assert differences([one, two]) == {}
    keys = [key for key in flatten(load_config(MICRO)) if key != "output_dir"]
    assert set(keys) <= set(one.settings)
    for key in keys:
        other = dataclasses.replace(two, settings={**two.settings, key: "another"})
        assert list(differences([one, other])) == [key]


def test_an_older_config_without_a_new_option_has_its_default(pair, tmp_path):
    text = (pair[0] / "config.yaml").read_text(encoding="utf-8")
    older = make(tmp_path / "older")
    (older / "config.yaml").write_text(
        "".join(line for line in text.splitlines(True) if "keep_checkpoints" not in line), encoding="utf-8"
    )
    assert differences(read_runs([pair[0], older])) == {}


def test_an_evaluation_with_mirror_images_says_so(pair):
    (pair[0] / "eval.json").write_text(json.dumps({"top1": 0.52, "split": "test set", "flip": True}), encoding="utf-8")
    assert results(read_runs(pair)[0])["top1 in eval.json"] == "0.52000 (test set, with --flip)"


def test_results_are_those_of_the_history(pair):
    measured = {"top1": 0.51, "split": "test set", "loss": 2.14079, "cross_entropy": 2.10836, "label_smoothing": 0.1}
    (pair[0] / "eval.json").write_text(json.dumps(measured), encoding="utf-8")
    for folder, result in zip(pair, map(results, read_runs(pair)), strict=True):
        history = read_history(folder / "history.csv")
        validated = [point for point in history if point.split == "val"]
        best = sorted(validated, key=lambda point: (-point.top1, point.epoch))[0]
        speeds = [point.ips for point in history if point.split == "train"]
        assert result == {
            "best top1": f"{best.top1:.5f}",
            "at epoch": str(best.epoch),
            "validation loss there, with the run's label smoothing": f"{best.loss:.5f}",
            "validation cross entropy there": f"{best.loss - 0.03:.5f}",
            "last top1": f"{validated[-1].top1:.5f}",
            "epochs done / planned": {"small": "3 / 3", "large": "4 / 4"}[folder.name],
            "steps": {"small": "18", "large": "12"}[folder.name],
            "training pictures/s (median)": f"{statistics.median(speeds):.1f}",
            "top1 in eval.json": {"small": "0.51000 (test set)", "large": NOT_YET}[folder.name],
            "loss in eval.json, with the run's label smoothing": {"small": "2.14079", "large": NOT_YET}[folder.name],
            "cross entropy in eval.json": {"small": "2.10836", "large": NOT_YET}[folder.name],
        }


def test_the_losses_are_named_and_what_older_runs_lack_is_a_dash(pair):
    old = [dataclasses.replace(point, cross_entropy=math.nan) for point in points(3)]
    History(pair[0], old)
    (pair[0] / "eval.json").write_text(
        json.dumps({"top1": 0.51, "split": "test set", "loss": 2.14079}), encoding="utf-8"
    )
    runs = read_runs(pair)
    assert results(runs[0])["validation cross entropy there"] == NOT_YET
    assert results(runs[0])["cross entropy in eval.json"] == NOT_YET
    assert results(runs[0])["loss in eval.json, with the run's label smoothing"] == "2.14079"
    assert draw(runs).axes[0].get_title() == "loss with label smoothing 0.1"
    plain = dataclasses.replace(runs[1], settings={**runs[1].settings, "loss.label_smoothing": 0.0})
    assert draw([runs[0], plain]).axes[0].get_title() == "loss with label smoothing 0, 0.1"
    assert draw([plain, plain]).axes[0].get_title() == "loss (cross entropy)"
    assert WHY_WORSE in tables(runs)


def test_the_best_of_equal_epochs_is_the_first_as_in_training(tmp_path):
    folders = [make(tmp_path / name, history=points(4)) for name in "ab"]  # 0.5 in epochs 2 and 4
    assert results(read_runs(folders)[0])["at epoch"] == "2"


def test_curves_are_those_of_the_histories_over_epochs(pair):
    panels = draw(read_runs(pair)).axes
    assert [axes.get_xlabel() for axes in panels] == ["epoch", "epoch"]
    histories = [read_history(folder / "history.csv") for folder in pair]
    for axes, quantity in zip(panels, ("loss", "top1"), strict=True):
        drawn = lines(axes)
        assert len(drawn) == 4
        for i, (history, steps) in enumerate(zip(histories, (STEPS, 3), strict=True)):
            train, val = ([point for point in history if point.split == split] for split in ("train", "val"))
            if quantity == "top1":
                train = train[1::2]  # the last of each epoch
            for (epochs, values), chosen in zip(drawn[2 * i : 2 * i + 2], (train, val), strict=True):
                assert epochs == [point.step / steps for point in chosen]
                assert values == [getattr(point, quantity) for point in chosen]
            assert drawn[2 * i + 1][0] == [point.epoch for point in val]  # epochs end at whole numbers


def test_a_run_has_one_look_in_both_panels_and_in_the_legend(tmp_path):
    names = ["_hidden", "half $x^{", *(f"run{i}" for i in range(8))]
    figure = draw(read_runs([make(tmp_path / name, history=points(2)) for name in names]))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    assert not any(text.get_parse_math() for text in legend.get_texts())
    looks = [(line.get_color(), line.get_linestyle()) for line in legend.get_lines()]
    assert len(set(looks)) == len(names)
    for axes in figure.axes:
        drawn = axes.get_lines()
        assert [(line.get_color(), line.get_linestyle()) for line in drawn[::2]] == looks
        assert [(line.get_color(), line.get_linestyle()) for line in drawn[1::2]] == looks
        assert all(a.get_linewidth() < b.get_linewidth() for a, b in zip(drawn[::2], drawn[1::2], strict=True))


def test_runs_in_progress_are_compared_as_far_as_they_are(tmp_path):
    runs = read_runs(
        [
            make(tmp_path / "begun", "train.epochs=5"),
            make(tmp_path / "first", "train.epochs=5", history=points(0, extra=2)),
            make(tmp_path / "third", "train.epochs=5", history=points(2, extra=1)),
        ]
    )
    begun, first, third = map(results, runs)
    assert set(begun.values()) == {NOT_YET, "0 / 5", "0"}
    assert (first["best top1"], first["epochs done / planned"], first["steps"]) == (NOT_YET, "0 / 5", "5")
    assert first["training pictures/s (median)"] == "102.5"
    assert (third["best top1"], third["epochs done / planned"], third["steps"]) == ("0.50000", "2 / 5", "12")
    loss, top1 = draw(runs).axes
    assert [len(epochs) for epochs, _ in lines(loss)] == [0, 0, 0, 0, 5, 2]
    assert [len(epochs) for epochs, _ in lines(top1)] == [0, 0, 0, 0, 2, 2]  # not of the epoch under way
    assert tables(runs).splitlines()[-1].endswith(" begun, first.")  # not drawn yet


def test_the_tool_prints_and_writes_the_same_aligned_tables(pair, tmp_path, monkeypatch, capsys):
    tool(monkeypatch, "compare.py", *pair, "--output", tmp_path / "new" / "folder")
    out = capsys.readouterr().out
    written = (tmp_path / "new" / "folder" / "comparison.md").read_text(encoding="utf-8")
    assert out.startswith(written)
    assert "| `data.batch_size` | 16    | 128   |" in written
    tables = [part for part in written.split("\n\n") if part.startswith("| ")]
    assert len(tables) == 3
    for table, columns in zip(tables, (4, 4, 8), strict=True):
        rows = table.strip().splitlines()
        assert len({len(row) for row in rows}) == 1
        assert {row.count("|") for row in rows} == {columns}
    assert cv2.imread(str(tmp_path / "new" / "folder" / "comparison.png")).shape[1] == 1100


def test_runs_of_one_name_are_distinguished_by_their_paths(tmp_path, monkeypatch):
    for name in ("x/run", "y/run", "other|"):
        make(tmp_path / name)
    monkeypatch.chdir(tmp_path / "x" / "run")
    runs = read_runs([".", "../../y/run", "../../other|"])
    assert [run.name for run in runs] == [".", "../../y/run", "other|"]
    assert r"other\|" in tables(runs)


HEADER = "step,epoch,split,lr,loss,top1,ips\n"
# What replaces a file of a run, or removes it where None, by the case.
DAMAGES = {
    "no config": ("config.yaml", None),
    "no history": ("history.csv", None),
    "an empty history": ("history.csv", ""),
    "another table": ("history.csv", "a,b\n1,2\n"),
    "a row cut short": ("history.csv", f"{HEADER}0,1,train,0.1"),
    "no number": ("history.csv", f"{HEADER}x,1,train,0.1,2,0.5,9\n"),
    "bytes": ("history.csv", b"\xff\xfe\x00"),
    "epoch 0": ("history.csv", f"{HEADER}6,0,val,0.1,2,0.5,9\n"),
    "step 0": ("history.csv", f"{HEADER}0,1,val,0.1,2,0.5,9\n"),
    "unknown key": ("config.yaml", "model: {nam: x}\n"),
    "eval.json of another": ("eval.json", "[1]"),
    "eval.json without split": ("eval.json", '{"top1": 0.5}'),
    "half an environment": ("environment.json", '{"paddle": '),
}


@pytest.mark.parametrize(("name", "content"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_run_is_refused_by_its_file(pair, name, content):
    file = pair[1] / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with refuses(UserError) as caught:
        read_runs(pair)
    if content is None:
        assert (caught.value.key, caught.value.place) == (name, str(pair[1]))
    elif name.endswith(".json"):
        assert (caught.value.key, caught.value.place) == (name, str(file))
    assert str(pair[1]) in str(caught.value)
    assert name in str(caught.value)


def test_a_run_given_alone_or_twice_is_refused(pair, tmp_path, monkeypatch):
    os.symlink(pair[0], tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    with refuses(UserError, key="OUTPUT", value=None, place="small"):
        read_runs(["small"])
    with refuses(UserError, key="config.yaml", place="none"):
        read_runs(["small", "none"])
    with refuses(UserError, key="OUTPUT", value="small", place="small"):
        read_runs(["small", "large", "./small/"])
    with refuses(UserError, key="OUTPUT", value="small", place="link"):
        read_runs(["small", "link"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "OUTPUT"),
        (["small", "none"], "none: no config.yaml"),
        (["small", "large", "--output", "small/config.yaml"], "--output small/config.yaml"),
    ],
)
def test_a_users_mistake_is_one_line(pair, tmp_path, monkeypatch, capsys, arguments, part):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "compare.py", *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, part)
    assert not (tmp_path / "comparison").exists()


def test_a_figure_that_cannot_be_written_is_a_users_matter(pair, tmp_path):
    (tmp_path / "out" / "comparison.png").mkdir(parents=True)
    with refuses(UserError) as caught:
        compare.write(read_runs(pair), "", tmp_path / "out")
    assert f"--output {tmp_path / 'out'}" in str(caught.value)
