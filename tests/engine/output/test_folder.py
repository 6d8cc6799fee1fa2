from unittest import mock

import pytest

from engine import filenames
from engine.errors import UserError
from engine.history import Point
from engine.output import folder as folders
from engine.output.folder import Output
from tests.support.errors import refuses


@pytest.fixture
def run(tmp_path):
    """A folder with every file of a run, each with its own name in it."""
    for name in filenames.RUN:
        if name in filenames.EXPORTS:
            continue
        (tmp_path / name).write_text(name, encoding="utf-8")
    return tmp_path


def content(folder):
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}


def test_an_old_run_is_put_aside_as_a_whole(run):
    before = content(run)
    Output(run).put_old_run_aside()
    assert content(run / filenames.REPLACED) == before
    assert [file.name for file in run.iterdir()] == [filenames.REPLACED]


def test_a_run_of_which_a_program_has_a_file_open_stays_whole(run, monkeypatch):
    before, move = content(run), folders.move

    def refuse(source, target):
        if source.name == filenames.DASHBOARD:
            raise PermissionError(13, "in use")
        move(source, target)

    monkeypatch.setattr(folders, "move", refuse)
    monkeypatch.setattr(folders, "WINDOWS", True)
    with refuses(UserError, key="output_dir", place=run) as caught:
        Output(run).put_old_run_aside()
    assert "close the programs" in str(caught.value)
    assert content(run) == before
    monkeypatch.undo()
    Output(run).put_old_run_aside()
    assert content(run / filenames.REPLACED) == before


def test_records_in_use_are_refused_before_a_run_begins(tmp_path, monkeypatch):
    """On Windows a history that is open in a spreadsheet cannot be replaced."""
    monkeypatch.setattr("engine.system.atomic.move", mock.Mock(side_effect=PermissionError(13, "in use")))
    monkeypatch.setattr(folders, "WINDOWS", True)
    with refuses(UserError, key="output_dir", place=tmp_path) as caught:
        Output(tmp_path).records({}, {})
    assert "close the programs" in str(caught.value)


@pytest.mark.parametrize(("there", "remedy"), [(True, "close"), (False, "free some space")])
def test_what_to_do_about_a_record_that_cannot_be_written_depends_on_the_system(tmp_path, monkeypatch, there, remedy):
    monkeypatch.setattr("common.windows.WINDOWS", there)
    with Output(tmp_path).records({}, {}) as records:
        monkeypatch.setattr(records._history, "append", mock.Mock(side_effect=PermissionError(13, "in use")))
        records.point(Point(step=1, epoch=1, split="val", lr=0.0, loss=0.0, top1=0.0, ips=0.0))
    assert remedy in (tmp_path / filenames.LOG).read_text(encoding="utf-8")
