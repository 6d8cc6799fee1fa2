"""Each of Paddle's private names in `common.paddle_private` exists in the installed Paddle and does its work."""

import numpy as np
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


def test_a_first_step_begins_with_the_accumulators_that_were_loaded():
    layer = paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.Adam(parameters=layer.parameters())
    names = [f"{weights.name}_{kind}" for weights in layer.parameters() for kind in ("moment1_0", "moment2_0")]
    powers = [f"{weights.name}_beta{i}_pow_acc_0" for weights in layer.parameters() for i in (1, 2)]
    loaded = {name: paddle.full([2, 2] if "w_" in name else [2], 5.0) for name in names}
    loaded |= {name: paddle.full([1], 0.5) for name in powers}
    paddle_private.load_accumulators(optimizer, loaded, {})
    layer(paddle.zeros([1, 2])).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(optimizer.state_dict()[f"{layer.weight.name}_moment1_0"].numpy(), 4.5)  # 0.9 * 5


def test_a_tensor_shares_anothers_numbers_and_keeps_its_name():
    weights = paddle.create_parameter([1], "float32")
    name, source = weights.name, paddle.to_tensor([1.0, 2.0])
    paddle_private.share(source, weights)
    source.add_(paddle.ones([2]))
    assert (weights.name, weights.tolist()) == (name, [2.0, 3.0])


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
