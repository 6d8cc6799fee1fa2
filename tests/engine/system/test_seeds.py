import paddle
import paddle.nn.functional as F
import pytest

from engine.system.seeds import seed_step


def test_a_steps_draws_are_those_of_older_runs_on_every_paddle():
    """What DropPath and Dropout draw; both use the one generator."""
    seed_step(42, 7, 0)
    uniform, kept = paddle.rand([5]), F.dropout(paddle.ones([16]), 0.3) > 0
    expected = [0.332446992, 0.410021245, 0.984531462, 0.321986258, 0.770843744]
    assert uniform.tolist() == pytest.approx(expected, rel=1e-7)
    assert kept.astype("int64").tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 1]
