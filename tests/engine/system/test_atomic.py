import sys
import types

import pytest

from engine.system import atomic


@pytest.fixture
def synced(monkeypatch):
    """The descriptors' access modes that were synced, by how."""
    calls = []
    monkeypatch.setattr(atomic.os, "fsync", lambda number: calls.append("fsync"))
    return calls


def test_windows_opens_no_folders(tmp_path, synced, monkeypatch):
    atomic.sync(tmp_path)
    assert synced == ["fsync"]
    monkeypatch.setattr(atomic, "WINDOWS", True)
    atomic.sync(tmp_path)
    assert synced == ["fsync"]
    (tmp_path / "file").touch()
    atomic.sync(tmp_path / "file")
    assert synced == ["fsync"] * 2


@pytest.mark.parametrize("able", [True, False])
def test_macos_empties_the_drives_cache_where_it_can(tmp_path, synced, monkeypatch, able):
    def fcntl(descriptor, command):
        assert command == "F_FULLFSYNC"
        if not able:
            raise OSError
        synced.append("full")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "fcntl", types.SimpleNamespace(fcntl=fcntl, F_FULLFSYNC="F_FULLFSYNC"))
    atomic.sync(tmp_path)
    assert synced == (["full"] if able else ["fsync"])
