import numpy as np
import paddle
import pytest

from models.windows import merge, padding_mask, partition, relative_position_index


@pytest.mark.parametrize(
    ("grid", "size", "ws"), [((2, 3), (8, 12), 4), ((2, 3), (6, 9), 4), ((1, 1), (3, 4), 4), ((2, 2), (4, 8), 4)]
)
def test_merge_undoes_partition(grid, size, ws):
    local = paddle.randn([2, 5, *size])
    windows = partition(local, grid, ws)
    assert windows.shape == [2 * grid[0] * grid[1], ws * ws, 5]
    np.testing.assert_array_equal(merge(windows, grid, size, ws).numpy(), local.numpy())


def test_partition_orders_windows_and_tokens_row_by_row():
    local = paddle.arange(16, dtype="float32").reshape([1, 1, 4, 4])
    assert partition(local, (2, 2), 2)[:, :, 0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]


def test_partition_pads_with_zeros_at_the_bottom_and_right():
    local = paddle.arange(1, 10, dtype="float32").reshape([1, 1, 3, 3])
    assert partition(local, (2, 2), 2)[:, :, 0].tolist() == [[1, 2, 4, 5], [3, 0, 6, 0], [7, 8, 0, 0], [9, 0, 0, 0]]


def rules(grid, size, ws, window):
    """The rules for one window in plain loops: for each pair, whether the column and the row rule allow it."""
    row, column = divmod(window, grid[1])
    real_columns = ws - (grid[1] * ws - size[1]) if column == grid[1] - 1 else ws
    real_rows = ws - (grid[0] * ws - size[0]) if row == grid[0] - 1 else ws
    in_columns = [True] + [x < real_columns for y in range(ws) for x in range(ws)]
    in_rows = [position < 1 + ws * real_rows for position in range(1 + ws * ws)]
    return np.outer(in_columns, in_columns), np.outer(in_rows, in_rows)


@pytest.mark.parametrize("kind", ["reference", "exact"])
@pytest.mark.parametrize("grid", [(1, 1), (1, 3), (3, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("padding", [(1, 2), (3, 0), (0, 1), (4, 4), (4, 0)], ids=str)
def test_padding_mask_follows_the_written_rules(grid, padding, kind):
    ws = 4
    size = (grid[0] * ws - padding[0], grid[1] * ws - padding[1])
    mask = padding_mask(grid, size, ws, kind).numpy()
    assert mask.shape == (grid[0] * grid[1], 17, 17)
    for window in range(grid[0] * grid[1]):
        column_rule, row_rule = rules(grid, size, ws, window)
        corner = kind == "reference" and window == grid[0] * grid[1] - 1
        expected = column_rule | row_rule if corner else column_rule & row_rule
        np.testing.assert_array_equal(mask[window], expected)


@pytest.mark.parametrize("ws", [2, 4, 7])
def test_relative_position_index_wraps_as_the_official_one(ws):
    index = relative_position_index(ws).reshape(1 + ws * ws, 1 + ws * ws)
    R = 2 * ws - 1
    assert (index[0] == R * R).all()
    assert (index[:, 0] == R * R).all()
    for query in range(ws * ws):
        for key in range(ws * ws):
            (y, x), (y2, x2) = divmod(query, ws), divmod(key, ws)
            assert index[1 + query, 1 + key] == (y2 - y + ws // 2) % R * R + (x2 - x + ws // 2) % R
