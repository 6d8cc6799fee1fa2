"""The lookup of relative position biases for several encoders at once."""

import numpy as np
import paddle

from models.attention import Attention, position_biases
from models.windows import relative_position_index

WS = 3


def index_select(attention, index):
    """One encoder's lookup, column by column: [heads * N * N]."""
    table = paddle.concat([attention.rel_pos, paddle.zeros([attention.num_heads, 1])], axis=1)
    return paddle.index_select(table, index, axis=1).flatten()


def test_values_and_gradients_are_those_of_index_select_bit_for_bit():
    index = paddle.to_tensor(relative_position_index(WS))
    random, results = np.random.RandomState(0), []
    tables = [random.standard_normal([heads, (2 * WS - 1) ** 2]).astype("float32") for heads in (2, 4, 2)]
    weights = [random.standard_normal(len(table) * index.shape[0]).astype("float32") for table in tables]
    for lookup in (
        lambda attentions: position_biases(attentions, index, paddle.float32),
        lambda attentions: [index_select(attention, index) for attention in attentions],
    ):
        attentions = [Attention(8, len(table), WS) for table in tables]
        for attention, table in zip(attentions, tables, strict=True):
            attention.rel_pos.set_value(table)
        biases = lookup(attentions)
        sum((bias * paddle.to_tensor(each)).sum() for bias, each in zip(biases, weights, strict=True)).backward()
        results.append([*(bias.numpy() for bias in biases), *(each.rel_pos.grad.numpy() for each in attentions)])
    for ours, columns in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, columns)


def test_no_gradient_is_that_of_index_select_which_runs_in_one_thread_if_deterministic(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("index_select")

    monkeypatch.setattr(paddle, "index_select", refuse)
    attention = Attention(8, 2, WS)
    (bias,) = position_biases([attention], paddle.to_tensor(relative_position_index(WS)), paddle.float32)
    bias.sum().backward()
    assert attention.rel_pos.grad.abs().min().item() > 0
