import numpy as np
import paddle
import pytest

from engine.training.step import gradient_norm


def test_the_gradient_norm_is_that_of_the_steps_gradients():
    model = paddle.nn.Linear(3, 2)
    inputs = paddle.to_tensor([[1.0, 2.0, 3.0]])
    model(inputs).sum().backward()
    assert gradient_norm(model).item() == pytest.approx(np.sqrt(2 * (1 + 4 + 9) + 2), rel=1e-6)


def test_the_gradient_norm_of_many_gradients_is_exact():
    """Adding 2**24 ones to a float32 number one after the other, nothing is left of further ones."""
    model = paddle.nn.Linear(2**12, 2**12 + 2, bias_attr=False)
    model.weight.grad = paddle.ones_like(model.weight)
    assert gradient_norm(model).item() == pytest.approx(np.sqrt(2**12 * (2**12 + 2)), rel=1e-9)
