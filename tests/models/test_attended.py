import numpy as np
import paddle
import pytest

from models import VARIANTS, build_model
from models.attended import attended, of_head, places
from models.attention_maps import attention_maps
from models.rollout import rollout


def maps_of(name, side, **overrides):
    """The patch and the attention maps of a variant, made small, over a picture of side x side pixels."""
    stages = len(VARIANTS[name]["depth"])
    small = {"embed_dim": (4, *(4 * 2**i for i in range(stages))), "num_heads": (1,) * stages, "depth": (1,) * stages}
    paddle.seed(0)
    model = build_model(name, num_classes=10, **{**small, **overrides})
    x = np.random.RandomState(1).standard_normal([1, 3, side, side]).astype("float32")
    return model, attention_maps(model, paddle.to_tensor(x))


def at(name, side, region):
    """Where a region lies in each stage of a variant, for a picture of side x side pixels."""
    model, maps = maps_of(name, side)
    return places(maps, region, model.cls_token.patch_size, side)


def test_later_stages_show_the_region_that_holds_the_chosen_one():
    found = at("regionvit_tiny_224", 224, (5, 2))
    assert [place.region for place in found] == [(5, 2), (2, 1), (1, 0), (0, 0)]
    assert [place.token for place in found] == [4, 8, 16, 32]
    boxes = [[edges.tolist() for edges in place.box()] for place in found]
    assert boxes == [[[140, 168], [56, 84]], [[112, 168], [56, 112]], [[112, 224], [0, 112]], [[0, 224], [0, 224]]]
    assert [edges.tolist() for edges in found[1].window(7)] == [list(range(112, 169, 8)), list(range(56, 113, 8))]


def test_regions_around_a_picture_that_had_to_be_padded_end_at_its_borders():
    """100 pixels get 6 before and 6 after them, to 4 regions of 28."""
    found = at("regionvit_tiny_224", 100, (3, 0))
    assert [place.edges.tolist() for place in found] == [[0, 22, 50, 78, 100], [0, 50, 100], [0, 100], [0, 100]]
    assert [place.region for place in found] == [(3, 0), (1, 0), (0, 0), (0, 0)]


@pytest.fixture(scope="module")
def deep():
    model, maps = maps_of("regionvit_micro_32", 32, depth=(3, 2), num_heads=(2, 2))
    return maps, [rollout(model, maps, (32, 32), i) for i in range(2)], places(maps, (1, 0), 16, 32)


@pytest.mark.parametrize("encoder", [0, 1, 2, "first", "last", "mean"])
def test_a_region_attends_to_what_its_rows_of_the_maps_say(deep, encoder):
    maps, rollouts, where = deep
    seen = attended(maps[0], rollouts[0], where[0], encoder)
    chosen = {"first": [0], "last": [2], "mean": [0, 1, 2]}.get(encoder, [encoder])
    rsa = maps[0].regional[chosen].mean(axis=0)[0, :, 2]
    lsa = maps[0].local[chosen].mean(axis=0)[0, 2]
    same = {"rtol": 0, "atol": 1e-7}
    np.testing.assert_allclose(seen.rsa, rsa.reshape(2, 2, 2), **same)
    for query, row in ((seen.regional, lsa[:, 0]), (seen.local, lsa[:, 1:].mean(axis=1))):
        np.testing.assert_allclose(query.regional, row[:, 0], **same)
        np.testing.assert_allclose(query.local, row[:, 1:].reshape(2, 4, 4), **same)
        np.testing.assert_allclose(query.regional + query.local.sum(axis=(1, 2)), 1, atol=1e-6)
    np.testing.assert_array_equal(seen.rollout, rollouts[0][0, 2])


def test_the_last_encoder_is_that_of_each_stage(deep):
    maps, rollouts, where = deep
    for stage, number in ((0, 2), (1, 1)):
        last, same = (attended(maps[stage], rollouts[stage], where[stage], which) for which in ("last", number))
        np.testing.assert_array_equal(last.rsa, same.rsa)
        np.testing.assert_array_equal(last.local.local, same.local.local)


def test_a_head_is_one_of_them_and_without_one_their_mean():
    weights = np.arange(12.0).reshape(3, 2, 2)
    np.testing.assert_array_equal(of_head(weights, 1), weights[1])
    np.testing.assert_array_equal(of_head(weights, None), weights.mean(axis=0))


def test_local_tokens_that_lie_in_padding_ask_nothing():
    """Of a window's tokens only those in the picture count: none of this one's is."""
    model, maps = maps_of("regionvit_medium_224", 57, padding_mask="exact")
    place = places(maps, (2, 2), model.cls_token.patch_size, 57)[0]
    seen = attended(maps[0], rollout(model, maps, (57, 57), 0), place, "last")
    assert not seen.local.local.any()
    assert not seen.local.regional.any()
