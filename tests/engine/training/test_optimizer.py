import functools

import numpy as np
import paddle
import pytest
from paddle.base.layer_helper import LayerHelper

from engine.benchmark.count import as_on_a_gpu
from engine.config.options import OPTIMIZERS
from engine.system import processes
from engine.training.optimizer import (
    Adam,
    ClipGradByGlobalNorm,
    build_optimizer,
    decay_layer_rates,
    decayed_weights,
    inner_matrices,
    layers_in_order,
    orthogonalized,
    orthogonalized_together,
)
from engine.training.step import gradient_norm
from engine.weights import pdparams
from engine.weights.pdparams import MOMENTUM
from models import build_model, cpu
from tests.support.errors import refuses
from tests.support.reference import fill, free_model
from tests.support.runs import NANO


def paddles_own(schedule, parameters, l2):
    return paddle.optimizer.Adam(schedule, parameters=parameters, weight_decay=l2, use_multi_tensor=True)


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_adam_with_l2_moves_the_weights_as_paddles_own_bit_for_bit(l2):
    images = paddle.to_tensor(np.random.RandomState(0).standard_normal((2, 3, 32, 32)).astype("float32"))
    results = []
    for optimizer_of in (Adam, paddles_own):
        model = fill(build_model("regionvit", **NANO, num_classes=10))
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


def nearly_orthogonal(matrix):
    """Five Newton-Schulz iterations in the matrix's own precision; Jordan et al., "Muon"."""
    if len(matrix) > len(matrix.T):
        return nearly_orthogonal(matrix.T).T
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
    return x


def five_steps(name, l2):
    """Weights after each of five steps of ours, and of the papers' formulas in float64; gradients of 1e-8 to 1."""
    random = np.random.RandomState(0)
    model = paddle.nn.Linear(4, 3)
    optimizer = build_optimizer(name, 0.01, model, weight_decay=l2)
    weights = [random.standard_normal(shape).astype("float32") for shape in ((4, 3), (3,))]
    exact = [value.astype("float64") for value in weights]
    moments = [[np.zeros(value.shape), np.zeros(value.shape)] for value in weights]
    found, expected = [], []
    for parameter, value in zip(model.parameters(), weights, strict=True):
        parameter.set_value(value)
    for step in range(1, 6):
        for i, parameter in enumerate(model.parameters()):
            gradient = (random.standard_normal(parameter.shape) * 10.0 ** (2 * step - 10)).astype("float32")
            parameter.grad = paddle.to_tensor(gradient)
            gradient = gradient + l2 * exact[i] if name == "Adam" else gradient.astype("float64")
            if name != "Adam" and i == 0:  # decoupled, and spares the bias
                exact[i] *= 1 - 0.01 * l2
            if name == "Muon" and i == 0:
                moments[0][0] = 0.95 * moments[0][0] + 0.05 * gradient
                exact[0] -= 0.01 * 0.2 * np.sqrt(4) * nearly_orthogonal(0.95 * moments[0][0] + 0.05 * gradient)
                continue
            first, second = moments[i] = [
                0.9 * moments[i][0] + 0.1 * gradient,
                0.999 * moments[i][1] + 0.001 * gradient**2,
            ]
            exact[i] -= 0.01 * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        optimizer.step()
        found += [parameter.numpy() for parameter in model.parameters()]
        expected += [value.copy() for value in exact]
    return found, expected


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_five_steps_are_the_papers_formula_on_every_paddle(name, l2):
    """Kingma and Ba, "Adam", algorithm 1, with its defaults and its place of epsilon; for Muon's matrix its own."""
    for weights, exact in zip(*five_steps(name, l2), strict=True):
        np.testing.assert_allclose(weights, exact, rtol=0, atol=1e-6)


@pytest.mark.cpu
def test_on_a_cpu_the_update_is_paddles_for_many_tensors_which_goes_by_the_classs_name():
    model = paddle.nn.Linear(6, 3)
    optimizer = Adam(0.01, model.parameters(), 0.1)
    model(paddle.ones([2, 6])).sum().backward()
    optimizer.step()
    assert sum(len(group) for groups in optimizer._param_dict.values() for group in groups) == 2


@pytest.mark.parametrize("in_rows", [False, True])
def test_parameters_of_different_precision_get_their_own_l2(in_rows):
    random = np.random.RandomState(1)
    parameters = [paddle.create_parameter(*kind) for kind in [([3, 2], "float64"), ([5], "float32"), ([4], "float64")]]
    gradients = [paddle.to_tensor(random.standard_normal(each.shape), each.dtype) for each in parameters]
    optimizer = Adam(0.1, [paddle.create_parameter([1], "float32")], l2=0.5)
    optimizer.in_rows = in_rows
    pairs = list(zip(parameters, gradients, strict=True))
    found = optimizer.append_regularization_ops(pairs)
    expected = {parameter.dtype: [] for parameter in parameters}
    for parameter, gradient in pairs:
        expected[parameter.dtype].append((gradient + 0.5 * parameter).numpy().flatten())
    for dtype, values in expected.items():
        same = [
            gradient.numpy().flatten() for parameter, gradient in found if parameter.dtype == gradient.dtype == dtype
        ]
        np.testing.assert_array_equal(np.concatenate(same), np.concatenate(values))


RECIPES = {  # of Paddle's own optimizers, parameter by parameter
    "Adam": lambda rate, model: paddle.optimizer.Adam(rate, parameters=model.parameters(), weight_decay=0.01),
    "AdamW": lambda rate, model: paddle.optimizer.AdamW(
        rate,
        parameters=model.parameters(),
        weight_decay=0.01,
        apply_decay_param_fun={weight.name for weight in decayed_weights(model)}.__contains__,
    ),
}


def after_steps(optimizer_of, views, layer_decay=1.0, steps=3, saved=None, file=None):
    """Train a narrow model; return its weights and its optimizer's state by name."""
    model, name = fill(build_model("regionvit", **NANO, num_classes=10)), "FLAGS_use_stride_kernel"
    if layer_decay != 1:
        decay_layer_rates(model, layer_decay)
    before = paddle.get_flags(name)
    paddle.set_flags({name: views})
    try:
        schedule = paddle.optimizer.lr.CosineAnnealingDecay(1e-3, T_max=8)
        with cpu.plain():
            optimizer = optimizer_of(schedule, model)
        if saved:
            pdparams.assign(dict(model.named_parameters()), saved)
            pdparams.load_optimizer(optimizer, model, file)
        for step in range(steps):
            images = np.random.RandomState(step).standard_normal((2, 3, 32, 32)).astype("float32")
            model(paddle.to_tensor(images)).square().mean().backward()
            optimizer.step()
            schedule.step()
            optimizer.clear_grad(set_to_zero=False)
    finally:
        paddle.set_flags(before)
    weights = {key: parameter.numpy() for key, parameter in model.named_parameters()}
    return weights, pdparams.optimizer_state(optimizer, model)


def in_rows(name):
    return lambda schedule, model: build_optimizer(name, schedule, model, weight_decay=0.01)


def assert_same_bits(ours, paddles):
    for one, other in zip(ours, paddles, strict=True):
        one.pop("LR_Scheduler", None), other.pop("LR_Scheduler", None)
        assert one.keys() == other.keys()
        for key, value in one.items():
            np.testing.assert_array_equal(value, other[key], err_msg=key)


@pytest.mark.parametrize("views", [True, False])
@pytest.mark.parametrize(("name", "layer_decay"), [("Adam", 1.0), ("AdamW", 0.5)])
def test_rows_move_weights_and_moments_as_paddles_own_optimizer_bit_for_bit(name, layer_decay, views):
    ours = after_steps(in_rows(name), views, layer_decay)
    assert_same_bits(ours, after_steps(RECIPES[name], views, layer_decay))


@pytest.mark.parametrize("name", RECIPES)
def test_rows_continue_from_a_state_of_parameters_bit_for_bit(name, tmp_path):
    weights, state = after_steps(RECIPES[name], True)
    pdparams.save({tmp_path / "state.pdopt": state})
    resumed = [
        after_steps(optimizer_of, True, saved=weights, file=tmp_path / "state.pdopt")
        for optimizer_of in (in_rows(name), RECIPES[name])
    ]
    assert_same_bits(*resumed)


def test_a_loaded_state_is_what_an_optimizer_without_a_step_since_then_saves(tmp_path):
    weights, state = after_steps(in_rows("AdamW"), True)
    pdparams.save({tmp_path / "state.pdopt": state})
    same = after_steps(in_rows("AdamW"), True, steps=0, saved=weights, file=tmp_path / "state.pdopt")
    assert_same_bits((weights, state), same)


def test_rows_follow_weights_that_someone_else_has_changed_between_two_steps():
    with cpu.plain():
        model = paddle.nn.Linear(3, 2)
        optimizer = Adam(0.5, model.parameters(), 0.0)
    for value in (1.0, 7.0):
        model.weight.set_value(paddle.full([3, 2], value))
        bias = model.bias.numpy()
        model(paddle.ones([1, 3])).sum().backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        np.testing.assert_allclose(model.weight.numpy(), value - 0.5, rtol=1e-5)
        np.testing.assert_allclose(model.bias.numpy(), bias - 0.5, rtol=1e-5)


def test_rows_refuse_a_gradient_that_comes_late():
    with cpu.plain():
        model = paddle.nn.Linear(3, 2)
        optimizer = Adam(0.5, model.parameters(), 0.0)
    paddle.matmul(paddle.ones([1, 3]), model.weight).sum().backward()
    optimizer.step()
    model(paddle.ones([1, 3])).sum().backward()
    with pytest.raises(RuntimeError, match=model.bias.name):
        optimizer.step()


@pytest.mark.parametrize("name", RECIPES)
def test_float32_weights_and_moments_of_16_bit_parameters_come_back_from_rows(name):
    """A CPU has no update of 16-bit parameters, so Paddle only makes the state here."""
    model = paddle.nn.Sequential(paddle.nn.Linear(3, 2), paddle.nn.LayerNorm(2))
    model.num_classes = 2
    model[0].to(dtype="float16")
    state = {}
    masters = {}
    for i, weights in enumerate(model.parameters()):
        owner = weights.name
        if weights.dtype == paddle.float16:
            owner += "_fp32_master_0"
            masters[weights.name] = paddle.full(weights.shape, 10.0 + i)
            masters[weights.name].name = owner
        state |= {f"{owner}_moment{k}_0": paddle.full(weights.shape, 10.0 * k + i) for k in (1, 2)}
        state |= {f"{owner}_beta{k}_pow_acc_0": paddle.full([1], 0.5**k) for k in (1, 2)}
    with as_on_a_gpu():  # views, because a CPU cannot copy 16 bits
        optimizer = build_optimizer(name, 0.1, model, weight_decay=0.0)
        optimizer.set_state_dict({**state, "master_weights": masters})
        pairs = [(weights, paddle.ones(weights.shape, weights.dtype)) for weights in model.parameters()]
        rows = [row for row, _ in optimizer.append_regularization_ops(pairs)]
        assert len(rows) < len(pairs)
        optimizer.helper = LayerHelper("")
        optimizer._create_accumulators(paddle.static.default_main_program().global_block(), rows)
        found = optimizer.state_dict()
    assert set(found.pop("master_weights")) == set(masters)
    assert set(found) == set(state)
    for key, value in {**state, **masters}.items():
        np.testing.assert_array_equal({**found, **optimizer.masters()}[key].numpy(), value.numpy(), err_msg=key)


IMAGES = np.random.RandomState(0).standard_normal((2, 3, 32, 32)).astype("float32")


@functools.cache
def moves(name, **options):
    """Return how far the first step moves each parameter of Micro from the golden ones, and the golden ones."""
    model = fill(build_model("regionvit_micro_32", num_classes=10))
    before = {key: parameter.numpy() for key, parameter in model.named_parameters()}
    optimizer = build_optimizer(name, 0.1, model, **options)
    model(paddle.to_tensor(IMAGES)).square().mean().backward()
    optimizer.step()
    return {key: parameter.numpy() - before[key] for key, parameter in model.named_parameters()}, before


def test_adamws_decay_spares_norms_biases_and_rel_pos():
    without, _ = moves("AdamW", weight_decay=0.0)
    with_decay, before = moves("AdamW", weight_decay=0.5)
    norms = ("norm", "patch_embed.proj.1.", "patch_embed.proj.4.", "layers.1.block.0.proj.0.")
    for key, weights in before.items():
        spared = key.endswith(("bias", "rel_pos")) or any(norm in key for norm in norms)
        expected = 0 if spared else -0.1 * 0.5 * weights
        np.testing.assert_allclose(with_decay[key] - without[key], expected, rtol=0, atol=1e-6, err_msg=key)


def test_adam_without_decay_and_adamw_without_decay_are_one():
    adam, _ = moves("Adam", weight_decay=0.0)
    adamw, _ = moves("AdamW", weight_decay=0.0)
    for key in adam:
        np.testing.assert_allclose(adam[key], adamw[key], rtol=0, atol=1e-6, err_msg=key)


DEPTHS = {  # of Micro, from the head on
    "head.": 0,
    "norm.": 0,
    "layers.1.block.3.": 1,
    "layers.1.block.2.": 2,
    "layers.1.block.1.": 3,
    "layers.1.block.0.": 3,
    "layers.0.block.2.": 4,
    "layers.0.block.1.": 5,
    "cls_token.": 6,
    "patch_embed.": 6,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_layer_decay_shortens_a_first_step_by_its_power(name):
    full, _ = moves(name, weight_decay=0.0)
    decayed, _ = moves(name, weight_decay=0.0, layer_decay=0.5)
    for key in full:
        (depth,) = [depth for start, depth in DEPTHS.items() if key.startswith(start)]
        np.testing.assert_allclose(decayed[key], full[key] * 0.5**depth, rtol=0, atol=5e-7, err_msg=key)


def test_every_parameter_is_in_one_of_the_groups_of_layers():
    model = free_model(peg=True)
    found = [parameter.name for group in layers_in_order(model) for layer in group for parameter in layer.parameters()]
    assert sorted(found) == sorted(parameter.name for parameter in model.parameters())


@pytest.mark.parametrize("clip_norm", [0.01, 1e6])
def test_clipping_is_paddles_by_global_norm_and_leaves_the_parameters_gradients(clip_norm):
    model = fill(build_model("regionvit_micro_32", num_classes=10))
    model(paddle.to_tensor(IMAGES)).square().mean().backward()
    pairs = [(parameter, parameter.grad) for parameter in model.parameters()]
    norm, before = gradient_norm(model).item(), [gradient.numpy() for _, gradient in pairs]
    assert 0.01 < norm < 1e6
    ours = ClipGradByGlobalNorm(clip_norm)(pairs)
    for gradient, left in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(left.grad.numpy(), gradient)
    paddles = paddle.nn.ClipGradByGlobalNorm(clip_norm)([(p, gradient.clone()) for p, gradient in pairs])
    for (parameter, clipped), (same, expected), gradient in zip(ours, paddles, before, strict=True):
        assert parameter is same
        np.testing.assert_allclose(clipped.numpy(), expected.numpy(), rtol=1e-5, atol=1e-9)
        if norm < clip_norm:
            np.testing.assert_array_equal(clipped.numpy(), gradient)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_clipped_step_shows_the_gradients_norm_before_clipping(name):
    results = []
    for clip_norm in (0, 0.01):
        model = fill(build_model("regionvit_micro_32", num_classes=10))
        optimizer = build_optimizer(name, 0.1, model, weight_decay=0.1, clip_norm=clip_norm)
        model(paddle.to_tensor(IMAGES)).square().mean().backward()
        optimizer.step()
        moments = optimizer.state_dict()[f"{model.head.weight.name}_moment1_0"]
        results.append((gradient_norm(model).item(), moments.numpy()))
    assert results[0][0] == results[1][0] > 0.01
    assert np.abs(results[1][1] - results[0][1]).max() > 1e-4  # it has clipped


def test_l2_is_added_after_clipping_as_paddle_does():
    def paddles(rate, model, weight_decay, clip_norm):
        clip = paddle.nn.ClipGradByGlobalNorm(clip_norm)
        return paddle.optimizer.Adam(rate, parameters=model.parameters(), weight_decay=weight_decay, grad_clip=clip)

    def ours(rate, model, weight_decay, clip_norm):
        return build_optimizer("Adam", rate, model, weight_decay=weight_decay, clip_norm=clip_norm)

    images = paddle.to_tensor(np.random.RandomState(0).standard_normal((16, 6)).astype("float32"))
    weights = []
    for optimizer_of in (ours, paddles):
        paddle.seed(2)
        model = paddle.nn.Linear(6, 3)
        optimizer = optimizer_of(0.01, model, 0.1, 0.1)
        for _ in range(20):
            model(images).square().mean().backward()
            optimizer.step()
            optimizer.clear_grad()
        weights.append(model.weight.numpy())
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-6)


def test_gradients_of_different_precision_are_clipped_to_one_norm():
    random = np.random.RandomState(1)
    kinds = [("float64", [3, 2]), ("float32", [5]), ("float64", [4])]
    pairs = [tuple(paddle.to_tensor(random.standard_normal(shape), dtype) for _ in range(2)) for dtype, shape in kinds]
    clipped = {id(parameter): gradient for parameter, gradient in ClipGradByGlobalNorm(0.5)(pairs)}
    norm = np.sqrt(sum(np.square(gradient.numpy()).sum() for _, gradient in pairs))
    for parameter, gradient in pairs:
        assert clipped[id(parameter)].dtype == gradient.dtype
        np.testing.assert_allclose(clipped[id(parameter)].numpy(), gradient.numpy() * 0.5 / norm, rtol=1e-5)


@pytest.mark.parametrize("shape", [(24, 24), (20, 36), (36, 20)])
def test_a_matrix_is_orthogonalized_by_singular_values_near_1_in_its_own_singular_directions(shape):
    matrix = np.random.RandomState(0).standard_normal(shape).astype("float32")
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    (found,) = orthogonalized([paddle.to_tensor(matrix)])
    turned = left.T @ found.numpy() @ right.T
    seen = singular > singular[0] / 100  # five iterations raise smaller ones less
    assert (np.abs(np.diag(turned)[seen] - 1) < 0.4).all()
    np.testing.assert_allclose(turned - np.diag(np.diag(turned)), 0, atol=1e-4)


def test_muon_orthogonalizes_what_adamw_decays_but_the_head_and_depthwise_kernels():
    model = free_model(peg=True)
    names = {parameter.name: key for key, parameter in model.named_parameters()}
    others = {names[weight.name] for weight in decayed_weights(model)} - {names[w.name] for w in inner_matrices(model)}
    depthwise = {key for key in names.values() if ".peg." in key or ".block.0.proj.2." in key}
    assert others == {"head.weight"} | {key for key in depthwise if key.endswith("weight")}


def test_processes_that_share_the_work_of_muon_get_what_one_gets(monkeypatch):
    random = np.random.RandomState(0)
    shapes = [(4, 6)] * 3 + [(6, 4)] * 2
    matrices = [paddle.to_tensor(random.standard_normal(shape).astype("float32")) for shape in shapes]
    alone, rows = orthogonalized_together(matrices), []
    monkeypatch.setattr(processes, "size", lambda: 2)
    monkeypatch.setattr(processes, "total", lambda row: rows.append(row.numpy()) or row)
    for rank in range(2):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        orthogonalized_together(matrices)
    assert (np.count_nonzero(rows, axis=0) == 1).all()  # each number is computed by one process
    monkeypatch.setattr(processes, "total", lambda row: paddle.to_tensor(sum(rows)))
    for one, shared in zip(alone, orthogonalized_together(matrices), strict=True):
        np.testing.assert_allclose(one.numpy(), shared.numpy(), rtol=0, atol=1e-6)


def test_a_state_without_the_momentum_of_a_matrix_is_refused(tmp_path):
    weights, state = after_steps(in_rows("Muon"), True)
    (key, *_) = [key for key in state if key.endswith(MOMENTUM)]
    del state[key]
    pdparams.save({tmp_path / "state.pdopt": state})
    with refuses(pdparams.CheckpointError, place=tmp_path / "state.pdopt"):
        after_steps(in_rows("Muon"), True, saved=weights, file=tmp_path / "state.pdopt")
