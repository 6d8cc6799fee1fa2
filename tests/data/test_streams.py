"""The random streams of a run. Their draws must never change, or older runs could not be resumed bit for bit."""

import numpy as np
import pytest

from data import streams
from data.dataset import DataError, hold_out
from tests.support.errors import refuses


@pytest.mark.parametrize(
    ("name", "values", "number", "drawn"),
    [
        ("ORDER", (42, 3), [], [3323519846, 941097516]),
        ("AUGMENTATION", (42, 3), [1], [428150017, 2939254560]),
        ("RANDAUGMENT", (42, 3), [2], [3401275089, 2857262822]),
        ("ERASING", (42, 3), [3], [3466809927, 168590560]),
        ("CORRUPTION", (0, 3, 5, 7), [5], [3541901223, 1893554813]),
        ("MIXING", (42, 7, 0, 0), [1], [2924596081, 1891846904]),
    ],
)
def test_a_stream_draws_the_numbers_of_older_runs(name, values, number, drawn):
    made = [
        rng.integers(1 << 32, size=2).tolist()
        for rng in (streams.generator(getattr(streams, name), *values), np.random.default_rng([*values, *number]))
    ]
    assert made == [drawn, drawn]


def test_the_seeds_of_a_step_and_of_a_picture_are_those_of_older_runs():
    assert streams.step_seed(42, 7, 0) == 1955881634
    assert streams.picture_seeds(42, 3, 5) == (4203042046, 4024695742)


def test_the_held_out_pictures_are_those_of_older_runs():
    kept, held_out = hold_out("file", 4, np.zeros(20, np.int64), ["one"])
    assert held_out.tolist() == [0, 1, 15, 17]
    assert sorted([*kept, *held_out]) == list(range(20))


@pytest.mark.parametrize("count", [4, 13, 60, 127])
def test_stratified_pictures_are_of_all_classes_in_proportion(count):
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2, 3], [60, 60, 5, 6]))
    kept, held_out = hold_out("file", count, labels, list("abcd"), "stratified")
    assert sorted([*kept, *held_out]) == list(range(131))
    found, sizes = np.bincount(labels[held_out], minlength=4), np.array([60, 60, 5, 6])
    assert found.sum() == count
    assert (found >= 1).all()
    assert (found < sizes).all()
    if count > 4:  # one of each at least takes what more pictures would get
        assert np.abs(found - count * sizes / 131).max() <= 1
    if count == 13:
        assert found.tolist() == [6, 5, 1, 1]
        assert np.bincount(labels[hold_out("file", count, labels, list("abcd"))[1]], minlength=4).min() == 0


@pytest.mark.parametrize(
    ("sizes", "count", "word"), [([3, 1], 2, "class b"), ([3, 3, 3], 2, "3 to 6"), ([3, 3], 5, "2 to 4")]
)
def test_a_split_that_cannot_have_all_classes_twice_is_refused(sizes, count, word):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    with refuses(DataError, key="data.holdout", value=count, place="file") as caught:
        hold_out("file", count, labels, list("abc"), "stratified")
    assert word in str(caught.value)


def test_stratified_pictures_are_always_the_same():
    held_out = hold_out("file", 4, np.arange(20) % 2, ["a", "b"], "stratified")[1]
    assert held_out.tolist() == [0, 8, 15, 17]
