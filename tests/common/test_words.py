import pytest

from common.words import counted
from engine.system import device


@pytest.mark.parametrize(("count", "text"), [(0, "0 threads"), (1, "1 thread"), (2, "2 threads")])
def test_counts_have_their_noun(count, text, monkeypatch):
    assert counted(count, "thread") == text
    assert counted(count, "batch", "batches") == text.replace("threads", "batches").replace("thread", "batch")
    monkeypatch.setattr(device, "cpu_threads", lambda: count)
    assert f", {text}, " in device.describe_device("cpu")
