import math
import warnings

import numpy as np
import paddle
import pytest

from engine.training.schedule import build_schedule

TOTAL = 20


def rates(schedule, steps):
    found = []
    for _ in range(steps):
        found.append(schedule())
        schedule.step()
    return found


def test_without_a_warmup_the_rates_are_paddles_cosine_bit_for_bit():
    plain = paddle.optimizer.lr.CosineAnnealingDecay(0.1, T_max=TOTAL)
    assert rates(build_schedule(0.1, TOTAL), TOTAL + 1) == rates(plain, TOTAL + 1)


def test_without_a_warmup_each_rate_comes_from_the_one_before_to_the_same_bits_on_every_paddle():
    expected = [0.1]
    for step in range(1, TOTAL + 1):
        now, before = (1 + math.cos(math.pi * of / TOTAL) for of in (step, step - 1))
        expected.append(now / before * expected[-1])
    assert rates(build_schedule(0.1, TOTAL), TOTAL + 1) == expected


def test_a_warmup_rises_in_a_line_to_the_rate_and_the_cosine_has_the_rest():
    found = rates(build_schedule(0.1, TOTAL, warmup_steps=4), TOTAL + 1)
    np.testing.assert_allclose(found[:5], [0.02, 0.04, 0.06, 0.08, 0.1], rtol=1e-12)
    np.testing.assert_allclose(found[4:], 0.05 * (1 + np.cos(np.pi * np.arange(17) / 16)), rtol=1e-12)
    assert found[-1] == 0


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize("done", [0, 2, 4, 11, TOTAL])
def test_a_resumed_schedule_continues_bit_for_bit_without_a_warning(warmup, done):
    whole, stopped, resumed = (build_schedule(0.1, TOTAL, warmup) for _ in range(3))
    rates(stopped, done)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.set_state_dict(stopped.state_dict())
    assert rates(resumed, TOTAL + 1 - done) == rates(whole, TOTAL + 1)[done:]


@pytest.mark.parametrize("done", [2, 11])
def test_a_longer_plan_has_the_same_warmup_and_its_own_rate_from_any_step_on(done):
    longer, whole = (build_schedule(0.1, 2 * TOTAL, warmup_steps=4) for _ in range(2))
    longer.step(done)
    assert rates(longer, 5) == rates(whole, TOTAL)[done : done + 5]
