import os
import shutil

import pytest

from common.errors import InputError
from engine.errors import UserError
from engine.output.folder import Output
from engine.repeat.seeds import own_advice, plan, read_numbers, refuse_other_config
from tests.support import archives
from tests.support.errors import one_line_about, refuses
from tests.support.runs import MICRO, SMALL, train
from tests.support.scripts import tool


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members(train=50, test=20))


@pytest.fixture(scope="module")
def trained(nano, no_figures, archive, tmp_path_factory):
    """A folder with a finished run of seed 1."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        train(monkeypatch, archive, folder / "seed1", "train.seed=1", "train.epochs=1")
    return folder


def planned(archive, folder, numbers, *overrides):
    return plan(MICRO, [f"data.file={archive}", *SMALL, "train.epochs=1", *overrides], numbers, folder)


def test_each_seed_has_its_own_folder_and_config(archive, tmp_path):
    folder, seeds = planned(archive, tmp_path / "out", [3, 1])
    assert folder == tmp_path / "out"
    assert [(seed.config().train.seed, seed.config().output_dir) for seed in seeds] == [
        (3, (tmp_path / "out" / "seed3").as_posix()),
        (1, (tmp_path / "out" / "seed1").as_posix()),
    ]
    assert plan(MICRO, [], [1], None)[1][0].folder.as_posix() == "output/micro_cifar10/seed1"


def test_numbers_are_read_in_their_order():
    assert read_numbers("3, 1,20") == [3, 1, 20]


@pytest.mark.parametrize("text", ["", "1,", "1,x", "1,-2", "1.5", "1;2", "2,1,02", "²"])
def test_what_are_no_seeds_is_refused(text):
    with refuses(UserError, key="--seeds", value=text):
        read_numbers(text)


@pytest.mark.parametrize(
    ("override", "key"),
    [("train.seed=3", "train.seed"), ("output_dir=x", "output_dir"), (" train.seed =3", "train.seed")],
)
def test_overrides_of_what_the_seeds_decide_are_refused(override, key):
    with refuses(UserError, key=key, value=override):
        plan(MICRO, [override], [1], None)


def test_a_seed_that_the_schema_does_not_know_is_refused():
    with refuses(InputError, key="train.seed", value=2**32):
        plan(MICRO, [], [1, 2**32], None)


def test_the_folder_of_a_single_run_is_refused(archive, trained):
    with refuses(UserError, key="--output", place=trained / "seed1"):
        planned(archive, trained / "seed1", [1])


def test_a_run_is_done_with_its_last_weights_and_not_before(archive, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "runs")
    _, (one, two) = planned(archive, folder, [1, 2])
    assert one.is_done()
    assert not two.is_done()
    _, (longer,) = planned(archive, folder, [1], "train.epochs=2")
    assert not longer.is_done()
    final = folder / "seed1" / "final_model.pdparams"
    os.utime(final, (0, 0))  # older than the history: of a former end of the run
    assert not one.is_done()
    final.unlink()
    assert not one.is_done()


@pytest.mark.parametrize("numbers", [[1], [2]], ids=["the same seed", "another seed"])
def test_another_config_than_that_of_a_run_in_the_folder_is_refused_as_resuming_does(archive, trained, numbers):
    folder, seeds = planned(archive, trained, numbers, "optimizer.learning_rate=0.5")
    with refuses(UserError, key="optimizer.learning_rate", value=0.5, place=trained / "seed1") as caught:
        refuse_other_config(folder, seeds, extending=False)
    assert "--output NEW" in str(caught.value)
    assert "output_dir=NEW" not in str(caught.value)


@pytest.mark.parametrize("numbers", [[1], [2]], ids=["the same seed", "another seed"])
def test_another_archive_than_that_of_a_run_in_the_folder_is_refused(archive, trained, tmp_path, numbers):
    copy, other = shutil.copy(archive, tmp_path), tmp_path / "other.tar.gz"
    refuse_other_config(*planned(copy, trained, numbers), extending=False)
    archives.write(other, archives.members(train=60, test=20))
    with refuses(UserError, key="data.file", place=trained / "seed1") as caught:
        refuse_other_config(*planned(other, trained, numbers), extending=False)
    assert "--output NEW" in str(caught.value)


def test_a_folder_in_use_is_named_once_and_with_this_commands_option(tmp_path):
    with refuses(UserError, key="output_dir") as caught, own_advice(tmp_path):
        (tmp_path / "file").write_text("", encoding="utf-8")
        Output(tmp_path / "file").lock()
    assert str(caught.value).startswith(f"--output {tmp_path / 'file'} ")
    assert "output_dir" not in str(caught.value)


def test_options_that_change_nothing_may_differ_and_more_epochs_need_extend(archive, trained):
    refuse_other_config(*planned(archive, trained, [1, 2], "train.log_interval=3"), extending=False)
    more = planned(archive, trained, [1, 2], "train.epochs=2")
    with refuses(UserError, key="train.epochs"):
        refuse_other_config(*more, extending=False)
    refuse_other_config(*more, extending=True)


def test_a_run_that_validates_on_held_out_pictures_is_measured_on_the_test_set(archive, tmp_path):
    _, (seed,) = planned(archive, tmp_path, [1], "data.holdout=10")
    assert (seed.config().data.holdout, seed.config_to_measure().data.holdout) == (10, 0)
    folder = archives.write_folder(tmp_path / "own", [archives.batch(20, 0)], [archives.batch(20, 9)])
    overrides = ("data.name=folder", f"data.file={folder}", "data.holdout=10")
    _, (seed,) = planned(archive, tmp_path, [1], *overrides)
    assert seed.config_to_measure().data.holdout == 0
    shutil.rmtree(folder / "val")
    assert seed.config_to_measure().data.holdout == 10


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--seeds", "1,1"], "--seeds 1,1"),
        (["--seeds", "1", "--processes", "0"], "--processes 0"),
        (["--seeds", "1", "-o", "output_dir=x"], "-o output_dir=x"),
        (["--seeds", "1", "-o", "train.sed=1"], "train.sed"),
        ([], "--seeds"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, part):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "repeat.py", "-c", MICRO, *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err.splitlines(True)[-1], part)
    assert list(tmp_path.iterdir()) == []
