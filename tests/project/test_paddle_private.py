"""Each of Paddle's private names in `common.paddle_private` exists in the installed Paddle and does its work."""

import paddle

from common import paddle_private
from tests.support.versions import paddle_before


def test_the_installed_paddle_is_one_that_the_names_were_checked_on():
    assert paddle.__version__ in paddle_private.CHECKED


def test_the_number_of_cpu_threads_can_be_set():
    paddle_private.set_cpu_threads(1)


def stepped(**options):
    layer = paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.Adam(parameters=layer.parameters(), **options)
    layer(paddle.ones([1, 2])).sum().backward()
    optimizer.step()
    return layer, optimizer


def test_a_loaded_optimizer_shows_its_accumulators():
    _, optimizer = stepped()
    saved = optimizer.state_dict()
    optimizer.set_state_dict(saved)
    assert set(paddle_private.accumulators(optimizer)) >= {name for name in saved if "moment" in name}


def test_an_optimizer_shows_its_master_weights():
    _, optimizer = stepped(multi_precision=True)
    assert paddle_private.master_weights(optimizer) == {}  # its weights are float32 already


def test_gradients_of_one_process_are_their_own_average(monkeypatch):
    from paddle.distributed.fleet.utils import hybrid_parallel_util

    averaged = []
    monkeypatch.setattr(hybrid_parallel_util, "fused_allreduce_gradients", lambda *inputs: averaged.append(inputs))
    parameters = paddle.nn.Linear(2, 2).parameters()
    paddle_private.average_gradients(parameters)
    assert averaged == [(parameters, None)]


def test_tf32_is_switched_where_there_are_switches():
    before = paddle_private.tf32()
    if paddle_before(3, 3) and not paddle.is_compiled_with_cuda():
        assert before == {}
        paddle_private.allow_tf32(True, False)  # does nothing
        return
    assert before == {"products": paddle_before(3, 3), "convolutions": True}  # Paddle's defaults
    paddle_private.allow_tf32(True, False)
    assert paddle_private.tf32() == {"products": True, "convolutions": False}
    paddle_private.allow_tf32(**before)
