import errno
import sys

import pytest

from engine.system import terminal as terminal_module


@pytest.mark.parametrize(
    ("error", "windows", "gone"),
    [
        (BrokenPipeError(errno.EPIPE, "x"), False, True),
        (OSError(errno.EINVAL, "x"), True, True),  # what a write to a broken pipe raises there
        (OSError(errno.EINVAL, "x"), False, False),
        (OSError(errno.ENOSPC, "x"), True, False),
    ],
)
def test_a_reader_that_has_left_is_told_from_a_full_disk(monkeypatch, error, windows, gone):
    monkeypatch.setattr(terminal_module, "WINDOWS", windows)
    assert terminal_module.reader_is_gone(error) == gone


@pytest.mark.parametrize(
    ("widgets", "terminal", "shown"), [(False, True, True), (False, False, False), (True, False, True)]
)
def test_bars_are_for_terminals_and_notebooks(monkeypatch, widgets, terminal, shown):
    monkeypatch.setattr(terminal_module, "HAS_WIDGETS", widgets)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    assert terminal_module.has_progress_bar() == shown
