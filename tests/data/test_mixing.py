import numpy as np
import paddle
import pytest
from scipy import stats

from data import mixing
from data.mixing import Mix, Mixing
from engine.config import build
from engine.config.load import load_config
from engine.training import trainer
from engine.weights import pdparams
from tests.support import archives
from tests.support.drawing import blank_figures
from tests.support.runs import points, train

B, CLASSES, HEIGHT, WIDTH = 6, 5, 20, 24


def batch():
    rng = np.random.RandomState(0)
    return rng.standard_normal((B, 3, HEIGHT, WIDTH)).astype("float32"), rng.randint(0, CLASSES, B)


def mixed(value):
    images, labels = batch()
    return [x.numpy() for x in mixing.mix(paddle.to_tensor(images), paddle.to_tensor(labels), CLASSES, value)]


def expected_labels(share):
    one_hot = np.eye(CLASSES)[batch()[1]]
    return share * one_hot + (1 - share) * np.roll(one_hot, 1, axis=0)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_is_the_convex_combination_of_pictures_and_of_labels(share):
    images, labels = mixed(Mix(share))
    before = batch()[0]
    np.testing.assert_allclose(images, share * before + (1 - share) * np.roll(before, 1, axis=0), atol=1e-6)
    np.testing.assert_allclose(labels, expected_labels(share), atol=1e-7)
    assert images.dtype == labels.dtype == np.float32


def test_cutmix_pastes_the_box_and_nothing_else():
    images, labels = mixed(Mix(0.9, (3, 2, 4, 12)))
    before = batch()[0]
    np.testing.assert_array_equal(images[:, :, 3:7, 2:14], np.roll(before, 1, axis=0)[:, :, 3:7, 2:14])
    images[:, :, 3:7, 2:14] = before[:, :, 3:7, 2:14]
    np.testing.assert_array_equal(images, before)
    np.testing.assert_allclose(labels, expected_labels(0.9), atol=1e-7)


@pytest.mark.parametrize("box", [(5, 5, 0, 3), (5, 5, 3, 0)])
def test_an_empty_box_pastes_nothing(box):
    np.testing.assert_array_equal(mixed(Mix(1.0, box))[0], batch()[0])


def test_the_batch_itself_stays_as_it_was():
    images, labels = (paddle.to_tensor(x) for x in batch())
    for value in (Mix(0.5), Mix(0.5, (0, 0, 10, 24))):
        mixing.mix(images, labels, CLASSES, value)
    np.testing.assert_array_equal(images.numpy(), batch()[0])


def drawn(mixup, cutmix, n=4000):
    rng = np.random.default_rng(0)
    return [mixing.sample(rng, HEIGHT, WIDTH, mixup, cutmix) for _ in range(n)]


def test_cutmix_s_label_share_is_the_area_that_is_not_pasted():
    for value in drawn(0, 1.0):
        top, left, height, width = value.box
        assert 0 <= top <= top + height <= HEIGHT
        assert 0 <= left <= left + width <= WIDTH
        pasted = np.zeros([HEIGHT, WIDTH], bool)
        pasted[top : top + height, left : left + width] = True
        assert value.share == 1 - pasted.mean()


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_s_shares_are_beta_distributed(alpha):
    values = drawn(alpha, 0)
    assert all(value.box is None for value in values)
    assert stats.kstest([value.share for value in values], stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_cutmix_s_boxes_have_the_pictures_shape_and_lie_anywhere():
    boxes = np.array([value.box for value in drawn(0, 1.0)])
    inside = boxes[(boxes[:, :2] > 0).all(axis=1) & (boxes[:, :2] + boxes[:, 2:] < [HEIGHT, WIDTH]).all(axis=1)]
    assert len(inside) > 500
    assert np.abs(inside[:, 2] / HEIGHT - inside[:, 3] / WIDTH).max() <= 0.5 / HEIGHT + 0.5 / WIDTH
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    np.testing.assert_allclose(middle.mean(axis=0), [HEIGHT / 2, WIDTH / 2], atol=0.5)


def test_with_both_each_has_half_of_the_steps():
    cuts = sum(value.box is not None for value in drawn(0.8, 1.0))
    assert stats.binomtest(cuts, 4000).pvalue > 0.01


def test_a_mix_depends_on_seed_step_and_process_and_on_nothing_else():
    images, labels = (paddle.to_tensor(x) for x in batch())
    how = Mixing(0.8, 1.0, CLASSES)

    def of(*key):
        np.random.seed(len(made))
        paddle.seed(len(made))
        return np.concatenate([x.numpy().ravel() for x in how(images, labels, *key)])

    made = []
    for key in ((1, 2, 0), (2, 2, 0), (1, 3, 0), (1, 2, 1)):
        made.append(of(*key))
        np.testing.assert_array_equal(made[-1], of(*key))
    assert len({picture.tobytes() for picture in made}) == 4


def test_a_run_learns_from_mixed_batches_and_is_validated_on_plain_ones(nano, tmp_path, monkeypatch):
    archive = archives.write(tmp_path / "cifar.tar.gz", archives.members(train=80, test=21))
    learnt, output = [], tmp_path / "run"

    def step(state, batches, criterion, original=trainer.train_step):
        learnt.extend([tensor.numpy() for tensor in batch] for batch in batches)
        return original(state, batches, criterion)

    monkeypatch.setattr(trainer, "train_step", step)
    settings = ("data.mixup=0.8", "data.cutmix=1", "train.accumulate=2", "train.epochs=1")
    with blank_figures():
        train(monkeypatch, archive, output, *settings)
    assert "Training batches are mixed" in (output / "train.log").read_text(encoding="utf-8")
    config = load_config(output / "config.yaml")
    dataset, model, how = build.build_dataset(config), build.build_model(config), Mixing(0.8, 1.0, 10)
    plain = list(build.build_train_loader(config, dataset))[:4]  # the fifth does not make a step
    for i, (ours, batch) in enumerate(zip(learnt, plain, strict=True)):
        expected = how(*batch, config.train.seed, i // 2, 0, i % 2)  # seed, step, process, batch of the step
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(a, b.numpy())
    pdparams.load_weights(model, output / "final_model.pdparams")
    result = trainer.evaluate(model, build.build_val_loader(config, dataset), build.build_criterion(config), 10)
    assert points(output)[-1][4:] == (result.loss, result.top1)
