import gc
import random

import numpy as np
import paddle
import pytest

from engine.config import build
from engine.config.load import load_config
from engine.errors import UserError
from engine.system.precision import MixedPrecision
from engine.training.parts import build_state
from models import build_model, cpu, regionvit
from tests.support.runs import MICRO

LIKE_TINY = {"kernel_sizes": (7, 7), "patch_conv_type": "3conv"}
LIKE_W14_PEG = {"kernel_sizes": (14, 14), "patch_conv_type": "1conv", "peg": True}
DROPPING = {"drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.3}


def build_small(**settings):
    paddle.seed(1)
    shape = {"patch_size": 4, "embed_dim": (16, 16, 32), "depth": (1, 2), "num_heads": (1, 2)}
    return build_model("regionvit", **shape, downsampling=("c", "sc"), num_classes=3, **settings)


def images(size, batch=2):
    return paddle.to_tensor(np.random.RandomState(0).standard_normal((batch, 3, size, size)).astype("float32"))


@pytest.fixture
def recomputed(monkeypatch):
    """The encoders that are computed again, in the order of their forward passes."""
    encoders, original = [], regionvit.recomputed

    def recompute(encoder, *inputs):
        encoders.append(encoder)
        return original(encoder, *inputs)

    monkeypatch.setattr(regionvit, "recomputed", recompute)
    return encoders


@pytest.mark.parametrize("dropping", [{}, DROPPING], ids=["plain", "dropping"])
@pytest.mark.parametrize("size", [112, 70], ids=["whole", "padded"])
@pytest.mark.parametrize("like", [LIKE_TINY, LIKE_W14_PEG], ids=["tiny", "w14_peg"])
def test_outputs_and_gradients_are_the_same_bits(like, size, dropping, recomputed):
    results = []
    for recompute in (False, True):
        model = build_small(recompute=recompute, **like, **dropping)
        paddle.seed(7)
        logits = model(images(size))
        logits.square().mean().backward()
        results.append([logits.numpy(), *(p.grad.numpy() for p in model.parameters()), paddle.rand([3]).numpy()])
    assert len(recomputed) == 2
    for plain, again in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, again)


def test_paddles_own_operations_are_recomputed_to_the_same_bits_too():
    with cpu.plain():
        test_outputs_and_gradients_are_the_same_bits(LIKE_TINY, 70, DROPPING, [None, None])


def test_it_is_all_encoders_but_the_last_and_in_training_alone(recomputed):
    model = build_small(recompute=True, **LIKE_TINY)
    model(images(56))
    assert recomputed == [model.layers[0].block[1], model.layers[1].block[1]]
    with paddle.no_grad():
        model(images(56))
    model.eval()
    model(images(56))
    assert len(recomputed) == 2


def test_the_backward_pass_leaves_the_generators_of_augmenting_threads_alone():
    model = build_small(recompute=True, **LIKE_TINY, **DROPPING)
    loss = model(images(56)).square().mean()
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    loss.backward()
    assert (random.random(), np.random.rand()) == expected


def test_by_default_nothing_is_recomputed(recomputed):
    build_small(**LIKE_TINY)(images(56)).sum().backward()
    assert recomputed == []


def test_less_is_kept_for_the_backward_pass():
    def kept(recompute):
        model, sizes = build_small(recompute=recompute, **LIKE_TINY), {}

        def pack(tensor):
            sizes[tensor.data_ptr()] = int(tensor.size)
            return tensor

        with cpu.plain(), paddle.autograd.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = model(images(112, batch=8))
        gc.collect()
        assert logits.shape == [8, 3]
        return sum(sizes.values())

    assert kept(True) < 0.7 * kept(False)


def test_a_static_graph_is_refused_in_one_line():
    config = load_config(MICRO, ["train.recompute=true", "train.to_static=true"])
    with pytest.raises(UserError, match=r"train.recompute: true, with train.to_static: true: .* use one of them"):
        build_state(config, build.build_model(config), MixedPrecision(), total_steps=4)
