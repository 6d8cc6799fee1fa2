"""What is done on Windows alone; tests/platforms runs whole scripts in an imitation of it."""

import os

import pytest

from common import windows


@pytest.fixture
def clock(monkeypatch):
    """The seconds that pass are those that are slept."""
    now = [100.0]
    monkeypatch.setattr(windows.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(windows.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def refusing(monkeypatch, times, error=PermissionError):
    """`os.replace` fails so many times, as while a program reads the file; returns the calls."""
    calls, replace = [], os.replace

    def refuse(*paths):
        calls.append(paths)
        if len(calls) <= times:
            raise error(13, "in use")
        replace(*paths)

    monkeypatch.setattr(windows.os, "replace", refuse)
    return calls


@pytest.fixture
def files(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("new", encoding="utf-8")
    old.write_text("old", encoding="utf-8")
    return new, old


def test_a_file_in_use_is_replaced_once_it_is_free(files, clock, monkeypatch):
    monkeypatch.setattr(windows, "WINDOWS", True)
    calls = refusing(monkeypatch, times=7)
    windows.move(*files)
    assert (len(calls), files[1].read_text(encoding="utf-8"), files[0].exists()) == (8, "new", False)


def test_patience_ends(files, clock, monkeypatch):
    monkeypatch.setattr(windows, "WINDOWS", True)
    refusing(monkeypatch, times=10_000)
    with pytest.raises(PermissionError):
        windows.move(*files)
    assert 110 <= clock[0] <= 110.2
    assert files[1].read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(("system", "error"), [(False, PermissionError), (True, FileNotFoundError)])
def test_any_other_refusal_is_final(files, clock, monkeypatch, system, error):
    monkeypatch.setattr(windows, "WINDOWS", system)
    calls = refusing(monkeypatch, 1, error)
    with pytest.raises(error):
        windows.move(*files)
    assert len(calls) == 1
