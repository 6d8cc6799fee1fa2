"""Paddle's flags are changed for a while, where they exist."""

import paddle
import pytest

from engine.system.flags import flags

FLAG = "FLAGS_check_nan_inf"  # one that both versions and all builds have


def test_a_flag_has_its_value_within_the_context_and_the_old_one_after_it():
    def fail():
        with flags(check_nan_inf=True):
            assert paddle.get_flags(FLAG) == {FLAG: True}
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert paddle.get_flags(FLAG) == {FLAG: False}


def test_a_flag_that_this_paddle_lacks_is_left_out():
    with flags(no_such_flag=True, check_nan_inf=True):
        assert paddle.get_flags(FLAG) == {FLAG: True}
    with pytest.raises(ValueError):
        paddle.get_flags("FLAGS_no_such_flag")
