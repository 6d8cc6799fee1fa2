"""Worker processes: started by fork or spawn, they make the same batches, and end with the run, however it ends."""

import contextlib
import errno
import faulthandler
import functools
import gc
import importlib
import multiprocessing
import operator
import os
import pickle
import pkgutil
import signal
import sys
import threading
import time
from multiprocessing import connection
from pathlib import Path

import numpy as np
import pytest
from paddle.io import BatchSampler

import data
from common.errors import InputError
from data import pipes, workers
from data.loader import HostLoader, make_batch
from tests.support import archives, probes
from tests.support.errors import refuses
from tests.support.probes import Probes, pause

FORKS = "fork" in multiprocessing.get_all_start_methods()
WAIT = 60  # seconds, for what takes a moment on an idle machine
FORK = pytest.param("fork", marks=pytest.mark.skipif(not FORKS, reason="this system cannot fork"))
SPAWN = pytest.param("spawn", marks=pytest.mark.slow)  # each worker imports Paddle
BOTH = pytest.mark.parametrize("method", [FORK, SPAWN], indirect=True)


@pytest.fixture
def method(request, monkeypatch):
    monkeypatch.setattr(workers, "METHOD", request.param)
    return request.param


@pytest.fixture(autouse=True)
def nothing_hangs_and_no_worker_is_left():
    faulthandler.dump_traceback_later(5 * WAIT, exit=True, file=sys.__stderr__)  # nothing else would end it
    yield
    faulthandler.cancel_dump_traceback_later()
    if multiprocessing.active_children():
        gc.collect()
    assert not multiprocessing.active_children()


def loader(dataset, num_workers=2, batches=6, size=2):
    keys = [list(range(i * size, (i + 1) * size)) for i in range(batches)]
    return HostLoader(dataset, Keys(keys), num_workers)


class Keys(BatchSampler):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def makers(batches):
    """The processes that made these batches, of which each is one process's."""
    return [{int(process) for process in images.numpy()[:, 0]} for images, _ in batches]


def test_this_system_starts_workers_as_it_can():
    assert workers.METHOD in multiprocessing.get_all_start_methods()


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return data.load(archives.write(tmp_path_factory.mktemp("data") / "cifar.tar.gz", archives.members())).train


@pytest.mark.parametrize(("method", "num_workers"), [("fork", 1), ("fork", 3), ("spawn", 1)], indirect=["method"])
def test_workers_make_the_batches_of_the_main_process_in_every_epoch(method, num_workers, split):
    """With all ingredients, also in an epoch that is resumed and in one with fewer batches than workers."""
    if method == "fork" and not FORKS:
        pytest.skip("this system cannot fork")
    augmentation = data.Augmentation(randaugment=2, erasing=0.5)
    settings = {"batch_size": 8, "image_size": 40, "seed": 42, "augmentation": augmentation}
    alone, together = (data.build_train_loader(split, num_workers=n, **settings) for n in (0, num_workers))
    assert len(alone) == len(together) == 12
    for epoch, start in ((1, 0), (0, 5), (2, 11)):
        for each in (alone, together):
            each.batch_sampler.set_epoch(epoch, start)
        found = list(together)
        assert len(found) == 12 - start
        for a, b in zip(alone, found, strict=True):
            for one, other in zip(a, b, strict=True):
                np.testing.assert_array_equal(one.numpy(), other.numpy())


@BOTH
def test_workers_take_turns_live_for_the_run_and_leave_signals_to_it(method):
    numbers = loader(Probes(), batches=5)
    first = list(numbers)
    for worker in multiprocessing.active_children():
        for signum in (signal.SIGTERM, signal.SIGINT):
            os.kill(worker.pid, signum)
    second = list(numbers)
    made = makers(first)
    assert made[0] == made[2] == made[4] != made[1] == made[3]
    assert makers(second) == made
    assert os.getpid() not in set.union(*made)
    for images, _ in first:
        threads, deadly = images.numpy()[:, 1:].T
        assert (threads <= 1).all()
        assert not deadly.any()
    assert [labels.tolist() for _, labels in second] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


class Sent(Probes):
    """Counts in the main process how often it is pickled."""

    count = 0

    def __reduce__(self):
        Sent.count += 1
        return Probes, ()


@BOTH
def test_a_dataset_is_sent_once_to_each_worker_that_does_not_inherit_it(method, monkeypatch):
    monkeypatch.setattr(Sent, "count", 0)
    numbers = loader(Sent())
    for _ in range(3):
        list(numbers)
    assert Sent.count == (0 if method == "fork" else 2)


def test_without_workers_the_main_process_makes_the_batches():
    assert makers(loader(Probes(), num_workers=0)) == [{os.getpid()}] * 6


@pytest.mark.parametrize(
    ("method", "act"),
    [
        pytest.param("fork", None, id="fork-working", marks=FORK.marks),
        pytest.param("fork", probes.hang, id="fork-hanging", marks=FORK.marks),
        pytest.param("spawn", probes.hang, id="spawn-hanging", marks=SPAWN.marks),
    ],
    indirect=["method"],
)
def test_an_epoch_that_is_left_ends_its_workers_and_the_next_one_has_new_ones(method, act):
    dataset = Probes({3: act} if act else {})
    numbers = loader(dataset)
    batches = iter(numbers)
    before = makers([next(batches)])
    children = multiprocessing.active_children()
    assert len(children) == 2
    batches.close()
    assert not any(worker.is_alive() for worker in children)
    dataset.acts.clear()
    after = makers(numbers)
    assert len(after) == 6
    assert before[0] not in after


def test_a_loader_that_nobody_needs_any_more_ends_its_workers():
    numbers = loader(Probes())
    list(numbers)
    children = multiprocessing.active_children()
    assert len(children) == 2
    del numbers
    assert not any(worker.is_alive() for worker in children)


def test_two_iterations_of_one_loader_do_not_mix():
    numbers = loader(Probes())
    for pair in zip(numbers, numbers, strict=True):
        one, other = (labels.tolist() for _, labels in pair)
        assert one == other
    assert len(makers(numbers)) == 6


@BOTH
def test_a_worker_that_dies_over_a_batch_is_an_error_in_its_turn(method):
    seen = []
    with refuses(data.DataError, key="data.num_workers", value=2):
        for _, labels in loader(Probes({4: probes.die})):
            seen.append(labels.tolist())
    assert seen == [[0, 1], [2, 3]]


@pytest.mark.skipif(not FORKS, reason="the damaged call is inherited")
def test_a_worker_that_dies_while_it_hands_over_a_batch_is_an_error(monkeypatch):
    original, run = connection.Connection._send, os.getpid()

    def dies(self, content, *arguments):
        if os.getpid() != run and len(content) > 1000:
            original(self, content[:1000], *arguments)
            probes.die()
        original(self, content, *arguments)

    monkeypatch.setattr(connection.Connection, "_send", dies)
    with refuses(data.DataError, key="data.num_workers", value=2):
        list(loader(Probes(size=10_000)))


def test_a_worker_that_is_killed_between_two_epochs_is_an_error_in_the_next_one():
    numbers = loader(Probes())
    list(numbers)
    worker = multiprocessing.active_children()[0]
    worker.kill()
    worker.join()
    with refuses(data.DataError, key="data.num_workers", value=2):
        list(numbers)
    assert len(makers(numbers)) == 6  # a new one begins with new workers


def test_workers_that_cannot_be_started_are_an_error_and_leave_none(monkeypatch):
    start, started = multiprocessing.process.BaseProcess.start, []

    def second_fails(self):
        if started:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(self)
        start(self)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", second_fails)
    with refuses(data.DataError, key="data.num_workers", value=2):
        list(loader(Probes()))
    assert not started[0].is_alive()


def test_a_spawned_worker_that_dies_at_once_is_an_error_though_its_end_of_the_pipe_is_open_here(monkeypatch):
    """As on Windows, where the run keeps a copy of that end until the worker has fetched it."""
    monkeypatch.setattr(workers, "METHOD", "spawn")
    monkeypatch.setattr(workers, "_serve", operator.is_)  # which needs no Paddle, and returns
    kept = []
    monkeypatch.setattr(connection.Connection, "close", lambda self: kept.append(self))
    with refuses(data.DataError, key="data.num_workers", value=1):
        list(loader(Probes(), num_workers=1))
    assert kept


class Garbage:
    """What only a collection ends, which must not happen in another process than this, as with a loader of Paddle's."""

    def __init__(self):
        self.itself, self.run = self, os.getpid()

    def __del__(self):
        if os.getpid() != self.run:
            probes.die()


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.skipif(not FORKS, reason="garbage is inherited by a fork alone")
def test_workers_collect_none_of_the_garbage_that_they_inherit(no_collection):
    Garbage()
    assert len(makers(loader(Probes({0: gc.collect})))) == 6


@pytest.mark.skipif(not FORKS, reason="garbage is inherited by a fork alone")
@pytest.mark.parametrize("collecting", [True, False])
def test_nothing_is_collected_until_a_forked_worker_has_put_garbage_aside(collecting, no_collection, monkeypatch):
    start, seen = multiprocessing.process.BaseProcess.start, []

    def observed(self):
        seen.append(gc.isenabled())
        start(self)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", observed)
    if collecting:
        gc.enable()
    makers(loader(Probes({0: collects})))
    assert seen == [False, False]
    assert gc.isenabled() == collecting


def collects():
    assert gc.isenabled()


ERRORS = {
    probes.bad_picture: (data.pictures.PictureError, {"key": None, "value": None, "place": "a.png"}),
    probes.bad_option: (data.DataError, {"key": "data.side", "value": 7, "place": "b"}),
    probes.bug: (KeyError, {"args": ("a name",)}),
    probes.lost_file: (FileNotFoundError, {"errno": errno.ENOENT, "filename": "no such file"}),
}


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("act", ERRORS, ids=lambda act: act.__name__)
def test_an_error_reaches_the_loop_as_it_is_in_its_turn(act, num_workers):
    kind, fields = ERRORS[act]
    seen = []
    with pytest.raises(kind) as caught:
        seen.extend(loader(Probes({5: act}), num_workers))
    assert len(seen) == 2
    assert type(caught.value) is kind
    assert {name: getattr(caught.value, name) for name in fields} == fields
    if num_workers:
        assert f"in {act.__name__}" in str(caught.value.__cause__)  # the worker's traceback


def test_an_error_that_cannot_be_sent_arrives_as_text():
    with pytest.raises(RuntimeError, match="1 and 2") as caught:
        list(loader(Probes({0: probes.awkward})))
    assert "in awkward" in str(caught.value.__cause__)


def kinds():
    for module in pkgutil.iter_modules(data.__path__, "data."):
        importlib.import_module(module.name)
    found, rest = {}, [InputError]
    while rest:
        kind = rest.pop()
        found[kind.__qualname__] = kind
        rest += kind.__subclasses__()
    return [kind for kind in found.values() if kind.__module__.startswith("data.")]


@pytest.mark.parametrize("kind", kinds())
def test_every_error_of_the_data_survives_its_way_out_of_a_worker(kind):
    if kind is data.folder.FolderError:
        error = kind([(Path("a"), "one problem"), (Path("b"), "another")])
    else:
        error = kind("a line", key="data.side", value=7, place=Path("a"))
    sent = pickle.loads(pickle.dumps(error))
    assert type(sent) is kind
    assert (sent.args, vars(sent)) == (error.args, vars(error))
    assert {"key", "value", "place"} <= vars(sent).keys()


ARRAYS = {
    "nothing": np.zeros(0, np.float32),
    "number": np.array(3),
    "a piece": np.arange(pipes.PIECE, dtype=np.uint8),
    "a byte less": np.arange(pipes.PIECE - 1, dtype=np.uint8),
    "a byte more": np.arange(pipes.PIECE + 1, dtype=np.uint8),
    "several": np.random.default_rng(0).random((5, 40_000)),
    "columns first": np.asfortranarray(np.random.default_rng(0).random((300, 400))),
    "every second": np.arange(200_000)[::2],
    "read only": np.frombuffer(bytes(range(256)) * 2000, np.uint8),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_comes_out_of_a_pipe_as_it_went_in(array):
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        sender = threading.Thread(target=pipes.send, args=(theirs, {"some": [array, "text"]}))
        sender.start()
        received, text = pipes.receive(ours)["some"]
        sender.join()
    assert text == "text"
    assert (received.dtype, received.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(received, array)


@contextlib.contextmanager
def another_process(run, *arguments):
    """A process that runs a function of a pipe; it is a copy of this one, so that it need not import everything."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=run, args=(theirs, *arguments))
    gc.collect()  # a fork would collect what earlier tests left, and wait for threads of Paddle that it lacks
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()


def await_ended(pids):
    deadline = time.monotonic() + WAIT
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def is_alive(pid):
    try:  # what has ended may stay as a zombie, if nobody takes in orphans
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def idle_busy_and_full(pipe, count):
    """Have workers that wait for jobs, some that do one, and some that wait to hand a result over."""
    idle, busy, full = crews = [
        workers.Workers(functools.partial(make_batch, probes), count)
        for probes in (Probes(), Probes({2: pause, 3: pause}), Probes(size=1_000_000))
    ]
    list(idle.results([[0], [1]]))
    results = [crew.results([[0], [1], [2], [3]]) for crew in (busy, full)]
    for _ in range(2):
        list(map(next, results))
    pipe.send([worker.pid for crew in crews for worker in crew.processes])
    pipe.recv()


needs_proc = pytest.mark.skipif(not FORKS or not Path("/proc/self/stat").exists(), reason="needs fork and /proc")


@needs_proc
@BOTH
def test_workers_end_with_a_run_that_is_killed_whatever_they_do(method):
    count = 2 if method == "fork" else 1
    with another_process(idle_busy_and_full, count) as (run, pipe):
        pids = pipe.recv()
        assert len(pids) == 3 * count
        assert all(map(is_alive, pids))
        run.kill()
        await_ended(pids)


def end_without_a_word(pipe):
    global kept
    crews = [workers.Workers(functools.partial(make_batch, Probes(size=size)), 2) for size in (1, 1_000_000)]
    kept = crews, [crew.results([[0], [1]]) for crew in crews]
    pipe.send([worker.pid for crew in crews for worker in crew.processes])


@needs_proc
@BOTH
def test_a_run_that_ends_with_workers_does_not_wait_for_them(method):
    with another_process(end_without_a_word) as (run, pipe):
        pids = pipe.recv()
        run.join(WAIT)
        assert run.exitcode == 0
        await_ended(pids)
