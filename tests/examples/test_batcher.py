"""examples/server/batcher.py: what waits at the same time is computed together, and each gets its own answer."""

import sys
import threading

import pytest

from tests.support.examples import EXAMPLES


@pytest.fixture
def batcher(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "server")
    monkeypatch.delitem(sys.modules, "batcher", raising=False)
    import batcher

    return batcher


class Program:
    """Doubles its inputs once it may, and notes its batches and threads."""

    def __init__(self):
        self.batches, self.threads, self.begun, self.may = [], set(), threading.Event(), threading.Event()

    def __call__(self, inputs):
        self.batches.append(inputs)
        self.threads.add(threading.current_thread())
        self.begun.set()
        assert self.may.wait(10)
        if "bad" in inputs:
            raise ValueError("bad")
        return [2 * x for x in inputs]


def started(batcher, largest):
    """Return a batcher whose program computes the first input until `may` is set, with the answer to it."""
    program = Program()
    thread = batcher.Batcher(program, largest, longest_wait=0)
    thread.start()
    first = thread.submit(0)
    assert program.begun.wait(10)
    return program, thread, first


def test_what_waits_is_computed_together_in_its_order_and_each_gets_its_own(batcher):
    program, thread, first = started(batcher, largest=4)
    answers = [first, *(thread.submit(x) for x in range(1, 8))]
    program.may.set()
    assert [answer.result(10) for answer in answers] == [2 * x for x in range(8)]
    assert program.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]
    assert (thread.inputs, thread.batches, program.threads) == (8, 3, {thread})


def test_an_input_waits_for_others_until_its_batch_is_full(batcher):
    program = Program()
    program.may.set()
    thread = batcher.Batcher(program, largest=2, longest_wait=60)
    thread.start()
    one, two = thread.submit(1), thread.submit(2)
    assert (one.result(10), two.result(10)) == (2, 4)
    assert program.batches == [[1, 2]]


def test_what_is_canceled_is_not_computed_and_takes_no_place_in_a_batch(batcher):
    program, thread, _ = started(batcher, largest=2)
    unwanted, *wanted = [thread.submit(x) for x in (1, 2, 3)]
    assert unwanted.cancel()
    program.may.set()
    assert [answer.result(10) for answer in wanted] == [4, 6]
    assert program.batches == [[0], [2, 3]]


def test_an_error_is_the_answer_to_its_batch_alone(batcher):
    program, thread, _ = started(batcher, largest=2)
    together = [thread.submit("bad"), thread.submit(1)]
    after = thread.submit(2)
    program.may.set()
    for answer in together:
        with pytest.raises(ValueError, match="bad"):
            answer.result(10)
    assert after.result(10) == 4
