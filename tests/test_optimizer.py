import numpy as np
import paddle
import pytest
from reference import fill

from engine.optimizer import Adam
from models import build_model


def paddles_own(schedule, parameters, l2):
    return paddle.optimizer.Adam(schedule, parameters=parameters, weight_decay=l2, use_multi_tensor=True)


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_adam_with_l2_moves_the_weights_as_paddles_own_bit_for_bit(l2):
    images = paddle.to_tensor(np.random.RandomState(0).standard_normal((2, 3, 32, 32)).astype("float32"))
    results = []
    for optimizer_of in (Adam, paddles_own):
        model = fill(build_model("regionvit_micro_32", num_classes=10))
        schedule = paddle.optimizer.lr.CosineAnnealingDecay(1e-3, T_max=4)
        optimizer = optimizer_of(schedule, model.parameters(), l2)
        for _ in range(3):
            model(images).square().mean().backward()
            optimizer.step()
            schedule.step()
            optimizer.clear_grad()
        moments = [value.numpy() for value in optimizer.state_dict().values() if isinstance(value, paddle.Tensor)]
        results.append([*(parameter.numpy() for parameter in model.parameters()), *moments])
    assert len(results[0]) == 5 * len(model.parameters())  # weights, two moments, two powers of beta
    for ours, paddles in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, paddles)


def test_adam_with_l2_is_the_plain_adam_of_the_recipe():
    def plain(rate, parameters, l2):
        return paddle.optimizer.Adam(rate, parameters=parameters, weight_decay=l2)

    images = paddle.to_tensor(np.random.RandomState(0).standard_normal((16, 6)).astype("float32"))
    weights = []
    for optimizer_of in (Adam, plain):
        paddle.seed(2)
        model = paddle.nn.Linear(6, 3)
        optimizer = optimizer_of(0.01, model.parameters(), 0.1)
        for _ in range(20):
            model(images).square().mean().backward()
            optimizer.step()
            optimizer.clear_grad()
        weights.append(model.weight.numpy())
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-6)


def test_the_update_is_paddles_for_many_tensors_which_goes_by_the_classs_name():
    model = paddle.nn.Linear(6, 3)
    optimizer = Adam(0.01, model.parameters(), 0.1)
    model(paddle.ones([2, 6])).sum().backward()
    optimizer.step()
    assert sum(len(group) for groups in optimizer._param_dict.values() for group in groups) == 2


def test_parameters_of_different_precision_get_their_own_l2():
    random = np.random.RandomState(1)
    kinds = [("float64", [3, 2]), ("float32", [5]), ("float64", [4]), ("float32", [1, 2, 2])]
    pairs = [tuple(paddle.to_tensor(random.standard_normal(shape), dtype) for _ in range(2)) for dtype, shape in kinds]
    optimizer = Adam(0.1, [paddle.create_parameter([1], "float32")], l2=0.5)
    found = {id(parameter): gradient for parameter, gradient in optimizer.append_regularization_ops(pairs)}
    for parameter, gradient in pairs:
        assert found[id(parameter)].dtype == gradient.dtype
        np.testing.assert_array_equal(found[id(parameter)].numpy(), (gradient + 0.5 * parameter).numpy())
