import errno

import pytest

from engine.system import terminal


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
    monkeypatch.setattr(terminal, "WINDOWS", windows)
    assert terminal.reader_is_gone(error) == gone
