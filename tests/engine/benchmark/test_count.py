"""What a training step of RegionViT-Tiny would launch on a GPU, counted on a CPU."""

import paddle
import pytest

from engine.benchmark.count import as_on_a_gpu, count, kept, stand_in_precision
from engine.metrics.losses import LabelSmoothingCrossEntropy
from engine.training.step import train_step
from models.layers import Mlp
from tests.support.reference import unfilled
from tests.support.states import new_state

pytestmark = pytest.mark.cpu  # a GPU's profiler counts for itself
IS_2_6 = paddle.__version__.startswith("2.6")


def counted(level, **options):
    """Return the counts of a step of Tiny with narrow layers and small pictures, which launch as much as any."""
    with as_on_a_gpu():
        model = unfilled("regionvit_tiny_224", embed_dim=[8, 8, 16, 32, 64], num_heads=[1, 1, 1, 1])
        model.train()
        state = new_state(
            model, learning_rate=1e-4, weight_decay=1e-5, total_steps=9, precision=stand_in_precision(level), **options
        )
        batch = paddle.ones([1, 3, 224, 224]), paddle.to_tensor([1])
        train_step(state, [batch], LabelSmoothingCrossEntropy())  # makes the optimizer's state
        return count(
            lambda: train_step(state, [batch], LabelSmoothingCrossEntropy())[0], False, len(model.parameters())
        )


@pytest.mark.parametrize(
    ("level", "options", "launches", "casts"),
    [
        ("O0", {}, 1011, 2 * IS_2_6),  # Paddle 2.6 casts logits from float32 to float32, too
        ("O0", {"optimizer": "AdamW"}, 1012, 2 * IS_2_6),
        ("O0", {"optimizer": "AdamW", "layer_decay": 0.7, "clip_norm": 1.0}, 1141, 4 * IS_2_6),
        ("O1", {}, 1053, 83),
    ],
)
def test_a_training_step_of_tiny_launches_no_more_than_this(level, options, launches, casts):
    found = counted(level, **options)
    assert 0.9 * launches < found["launches_per_step"] <= launches
    assert casts - 10 <= found["casts_per_step"] <= casts


def test_each_kind_of_launch_counts():
    x = paddle.ones([2, 3])
    x.stop_gradient = False
    parameters = [paddle.create_parameter([2], "float32") for _ in range(3)]

    def counts_of(step, **keywords):
        return tuple(count(step, False, **keywords).values())

    assert counts_of(lambda: x.reshape([3, 2]).transpose([1, 0])[:1]) == (0, 0)
    assert counts_of(lambda: x + x) == (1, 0)
    assert counts_of(lambda: paddle.concat([x, x, x])) == (1, 0)
    assert counts_of(lambda: x.astype("float64")) == (0, 1)

    def update():
        for parameter in parameters:
            parameter.grad = paddle.ones([2])
        optimizer.step()
        return parameters[0]

    def clear(set_to_zero):
        update()
        optimizer.clear_grad(set_to_zero)
        return parameters[0]

    for many, update_of in ((True, "one operator"), (False, "one per parameter")):
        optimizer = type("Adam", (paddle.optimizer.Adam,), {})(parameters=parameters, use_multi_tensor=many)
        update()
        launches, _ = counts_of(update, parameters=3)
        filled, _ = counts_of(lambda: clear(True), parameters=3)
        freed, _ = counts_of(lambda: clear(False), parameters=3)
        assert (filled - launches, freed - launches) == (3, 0), update_of
        nothing, _ = counts_of(lambda: [setattr(each, "grad", paddle.ones([2])) for each in parameters] and x)
        assert launches - nothing == 3, update_of


def test_what_is_kept_is_counted_once_without_weights_and_without_what_is_freed_at_once():
    weight = paddle.create_parameter([4, 4], "float32")
    x = paddle.ones([8, 4])
    assert kept(lambda: x * 2, [weight]) == 0
    assert kept(lambda: paddle.matmul(x, weight), [weight]) == 8 * 4 * 4  # x, for the weight's gradient
    y = paddle.matmul(x, weight)
    assert kept(lambda: y * y, [weight]) == 8 * 4 * 4
    with paddle.no_grad():
        assert kept(lambda: paddle.matmul(x, weight), [weight]) == 0


def test_a_gelu_is_not_kept_on_a_gpu_either():
    mlp = Mlp(16, 64)
    x = paddle.ones([5, 16])
    x.stop_gradient = False
    with as_on_a_gpu():
        assert kept(lambda: mlp(x), mlp.parameters()) == 5 * (16 + 64) * 4  # x, and what the GELU gets
