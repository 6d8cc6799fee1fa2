import re

import paddle
import pytest

from models import VARIANTS, build_model
from models.flops import count_layers, count_multiply_adds, totals
from models.regionvit import R2LEncoder
from models.summary import summarize
from tests.support.models import without_random_values
from tests.support.reference import free_model, unfilled

SIZE = 64, 96


@pytest.fixture(scope="module", params=VARIANTS)
def counted(request):
    """A model of each variant, and its layers."""
    model = unfilled(request.param)
    return model, count_layers(model, *SIZE)


@pytest.mark.parametrize(("variant", "paper"), [("tiny", 2.4), ("small", 5.3), ("medium", 7.4), ("base", 13.0)])
def test_multiply_adds_are_the_papers(variant, paper):
    with without_random_values():
        model = build_model(f"regionvit_{variant}_224", num_classes=1000)
    assert count_multiply_adds(model, 224, 224) / 1e9 == pytest.approx(paper, abs=0.05)
    assert model.training


def test_layers_have_all_parameters_once(counted):
    model, layers = counted
    assert totals(layers)[0] == sum(int(parameter.size) for parameter in model.parameters())
    assert totals(layers)[1] == count_multiply_adds(model, *SIZE)


def test_a_path_leads_to_its_layer(counted):
    model, layers = counted
    assert len({layer.path for layer in layers}) == len(layers)
    for layer in layers:
        found = model
        for name in layer.path.split("."):
            found = found[int(name)] if name.isdigit() else getattr(found, name)
        assert type(found).__name__ == layer.kind
        assert sum(int(p.size) for p in found.parameters(include_sublayers=False)) == layer.parameters


def test_encoders_do_what_their_shapes_say(counted):
    """RSA over R regions, LSA and FFN over R windows of N positions: C x 4 C weights in attention, 2 C x 4 C in FFN."""
    model, layers = counted
    encoders = [layer for layer in layers if layer.kind == R2LEncoder.__name__]
    assert len(encoders) == sum(len(stage.block) - 1 for stage in model.layers)
    for encoder in encoders:
        (_, R, C), (windows, tokens, _) = encoder.outputs
        assert windows == R
        N = 1 + tokens
        rsa, lsa, ffn = R * 4 * C * C + 2 * R * R * C, R * (N * 4 * C * C + 2 * N * N * C), R * N * 8 * C * C
        assert totals(each for each in layers if each.path.startswith(f"{encoder.path}."))[1] == rsa + lsa + ffn


def test_maps_and_logits_are_those_of_the_model(counted):
    model, layers = counted
    outputs = {layer.path: layer.outputs for layer in layers}
    with paddle.no_grad():
        maps = model.forward_features(paddle.zeros([1, 3, *SIZE]), detection=True)
    assert [outputs[f"layers.{i}"][1] for i in range(len(maps))] == [tuple(each.shape) for each in maps]
    assert outputs["head"] == [(1, 10)]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_rows_of_a_table_add_up_to_its_total(counted, depth):
    _, layers = counted
    head, *rows, total = summarize(layers, depth).splitlines()
    assert head.split() == ["layer", "class", "output", "parameters", "share", "multiply-adds", "share"]
    parameters, multiply_adds = totals(layers)
    assert total.split() == ["total", f"{parameters:,}", "100.0%", f"{multiply_adds:,}", "100.0%"]
    levels = {layer.path: layer.depth for layer in layers}
    cells = [re.split(" {2,}", row.strip()) for row in rows]
    assert max(levels[row[0]] for row in cells) == depth
    outer = [[int(number.replace(",", "")) for number in (row[3], row[5])] for row in cells if levels[row[0]] == 1]
    assert [sum(column) for column in zip(*outer, strict=True)] == [parameters, multiply_adds]


@pytest.mark.parametrize(
    "overrides",
    [{"in_chans": 1}, {"num_classes": 0}, {"det_norm": True}, {"peg": True}],
    ids=lambda each: next(iter(each)),
)
def test_a_model_of_ones_own_is_counted_and_left_as_it_was(overrides):
    model = free_model(**overrides)
    hooks = [len(layer._forward_post_hooks) for layer in model.sublayers()]
    layers = count_layers(model, 50, 75)
    assert totals(layers)[0] == sum(int(parameter.size) for parameter in model.parameters())
    assert summarize(layers).count("R2LEncoder") == sum(len(stage.block) - 1 for stage in model.layers)
    assert [len(layer._forward_post_hooks) for layer in model.sublayers()] == hooks
    assert model.training
