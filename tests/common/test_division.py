import numpy as np
import paddle
import pytest

from common.division import divided


@pytest.mark.parametrize("number", [41, 96, 0.9, 1e-40])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_quotient_is_numpys_bit_for_bit_and_so_is_its_gradient(dtype, number):
    """Of the whole range, with numbers whose inverse cannot be had in one rounding, or at all."""
    values = np.concatenate([np.arange(-9, 200), [1e-30, 3e30, number]]).astype(dtype)
    x = paddle.to_tensor(values, stop_gradient=False)
    quotient = divided(x, number)
    (quotient * x.detach()).sum().backward()
    with np.errstate(over="ignore"):
        expected = values / values.dtype.type(number)
    assert quotient.dtype == x.dtype
    np.testing.assert_array_equal(quotient.numpy(), expected)
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_a_scalar_stays_a_scalar():
    assert list(divided(paddle.to_tensor(82.0), 41).shape) == []
    assert divided(paddle.to_tensor(82.0), 41).item() == 2
