"""The random streams of a run. Their draws must never change, or older runs could not be resumed bit for bit."""

import numpy as np
import pytest

from data import streams
from data.dataset import hold_out


@pytest.mark.parametrize(
    ("name", "values", "number", "drawn"),
    [
        ("ORDER", (42, 3), [], [3323519846, 941097516]),
        ("AUGMENTATION", (42, 3), [1], [428150017, 2939254560]),
        ("RANDAUGMENT", (42, 3), [2], [3401275089, 2857262822]),
        ("ERASING", (42, 3), [3], [3466809927, 168590560]),
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
