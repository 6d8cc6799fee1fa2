"""Every value of a config arrives where it belongs."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

import data
from data.download import md5sum
from data.fast import FastEvalLoader, FastTrainLoader
from data.mixing import Mixing
from engine.config import build
from engine.config.load import load_config
from engine.errors import UserError
from engine.system.precision import MixedPrecision
from engine.training.parts import build_state
from models.static import make_static
from tests.support import archives
from tests.support.errors import refuses

MICRO = Path(__file__).parents[3] / "configs" / "micro_cifar10.yaml"


def test_the_model_gets_the_configs_values():
    rates = ["model.drop_rate=0.1", "model.attn_drop_rate=0.2", "model.drop_path_rate=0.3"]
    config = load_config(MICRO, ["model.num_classes=7", "model.padding_mask=exact", *rates])
    model = build.build_model(config)
    last = model.layers[-1].block[-1]
    assert model.head.weight.shape[1] == model.num_classes == 7
    assert model.layers[0].padding_mask == "exact"
    assert (model.pos_drop.p, last.mlp.drop.p, last.attn.proj_drop.p) == (0.1, 0.1, 0.1)
    assert last.attn.attn_drop.p == 0.2
    assert last.drop_path.rate == pytest.approx(0.3)


def test_the_loss_gets_the_configs_smoothing():
    assert build.build_criterion(load_config(MICRO, ["loss.label_smoothing=0.3"])).smoothing == 0.3


def test_batches_are_mixed_as_the_config_says():
    assert build.build_mixing(load_config(MICRO)) is None
    for values in ({"mixup": 0.8, "cutmix": 0.0}, {"mixup": 0.0, "cutmix": 1.0}):
        config = load_config(MICRO, [f"data.{key}={value}" for key, value in values.items()])
        assert build.build_mixing(config) == Mixing(**values, num_classes=10)


def test_the_loaders_get_the_configs_values(tmp_path):
    archive = archives.write(tmp_path / "a.tar.gz", archives.members(train=50, test=9))
    values = ["data.pipeline=host", "data.batch_size=7", "data.num_workers=3", "data.image_size=40"]
    values += ["train.seed=5", "data.holdout=10"]
    config = load_config(MICRO, [f"data.file={archive}", *values])
    dataset = build.build_dataset(config)
    train, val = build.build_train_loader(config, dataset), build.build_val_loader(config, dataset)
    assert (len(dataset.train), len(dataset.val)) == (40, 10)
    assert train.batch_sampler.batch_size == val.batch_sampler.batch_size == 7
    assert train.num_workers == val.num_workers == 3
    assert train.dataset.seed == train.batch_sampler.seed == 5
    assert train.dataset[0, 0][0].shape == val.dataset[0][0].shape == (3, 40, 40)


@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_pictures_to_validate_on_are_untouched_by_all_ingredients(tmp_path, pipeline):
    archive = archives.write(tmp_path / "a.tar.gz", archives.members(train=50, test=9))
    values = [f"data.file={archive}", f"data.pipeline={pipeline}", "data.batch_size=4"]
    ingredients = ["data.randaugment=2", "data.random_erasing=1", "data.mixup=1", "data.cutmix=1"]
    loaders = []
    for config in (load_config(MICRO, values), load_config(MICRO, values + ingredients)):
        loaders.append(build.build_val_loader(config, build.build_dataset(config)))
    for (images, labels), (same, same_labels) in zip(*loaders, strict=True):
        np.testing.assert_array_equal(images.numpy(), same.numpy())
        np.testing.assert_array_equal(labels.numpy(), same_labels.numpy())


def test_the_fast_loaders_get_the_configs_values(tmp_path):
    archive = archives.write(tmp_path / "a.tar.gz", archives.members(train=50, test=9))
    values = ["data.pipeline=fast", "data.batch_size=7", "data.num_workers=3", "data.image_size=40", "train.seed=5"]
    config = load_config(MICRO, [f"data.file={archive}", *values])
    dataset = build.build_dataset(config)
    train, val = build.build_train_loader(config, dataset), build.build_val_loader(config, dataset)
    assert (type(train), type(val)) == (FastTrainLoader, FastEvalLoader)
    assert (train.num_workers, train.on_device) == (3, False)
    assert train.dataset.seed == train.batch_sampler.seed == 5
    assert [list(images.shape) for images, _ in train] == 7 * [[7, 3, 40, 40]]
    assert [list(images.shape) for images, _ in val] == [[7, 3, 40, 40], [2, 3, 40, 40]]


@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_the_augmentation_is_as_strong_as_the_config_says(tmp_path, pipeline):
    archive = archives.write(tmp_path / "a.tar.gz", archives.members(train=20, test=5))
    values = [
        "data.crop=0.9",
        "data.jitter=0",
        "data.rotation=0",
        "data.flip=0.9",
        "data.batch_size=4",
        f"data.pipeline={pipeline}",
    ]
    config = load_config(MICRO, [f"data.file={archive}", *values])
    loader = build.build_train_loader(config, build.build_dataset(config))
    if pipeline == "host":
        assert loader.dataset.augmentation == data.Augmentation(crop=0.9, jitter=0, rotation=0, flip=0.9)
    else:
        params = loader.dataset.params(0)
        assert (params.box[:, 2] * params.box[:, 3]).min() >= 0.85 * 32 * 32
        np.testing.assert_array_equal(params.factor, 1)
        np.testing.assert_array_equal(params.angle, 0)
        assert params.flip.mean() > 0.7


@pytest.mark.parametrize("pipeline", ["host", "fast"])
def test_the_ingredients_are_as_strong_as_the_config_says(tmp_path, pipeline):
    archive = archives.write(tmp_path / "a.tar.gz", archives.members(train=20, test=5))
    values = ["data.randaugment=3", "data.randaugment_magnitude=4", "data.random_erasing=1", "data.batch_size=4"]
    config = load_config(MICRO, [f"data.file={archive}", f"data.pipeline={pipeline}", *values])
    pictures = build.build_train_loader(config, build.build_dataset(config)).dataset
    assert pictures.operations(0).shape == (20, 3, 2)
    assert pictures.augmentation.magnitude == 4
    assert (pictures.boxes(0)[:, 2:] > 0).all()


@pytest.mark.parametrize(("device", "on_device"), [("cpu", False), ("gpu:0", True)])
def test_the_fast_pipeline_augments_on_a_gpu_and_not_on_a_cpu(tmp_path, monkeypatch, device, on_device):
    archive = archives.write(tmp_path / "a.tar.gz", archives.members(train=20, test=5))
    config = load_config(MICRO, [f"data.file={archive}", "data.pipeline=fast", "data.batch_size=4"])
    dataset = build.build_dataset(config)
    monkeypatch.setattr(paddle, "get_device", lambda: device)
    assert build.build_train_loader(config, dataset).on_device == on_device


def test_a_static_model_computes_and_learns_as_before_for_batches_of_any_size(nano):
    model = build.build_model(load_config(MICRO))
    images = [paddle.to_tensor(np.random.RandomState(n).standard_normal((n, 3, 32, 32)), "float32") for n in (4, 3)]
    before = [model(batch).numpy() for batch in images]
    model(images[0]).square().mean().backward()
    gradients = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    model.clear_gradients()
    make_static(model, 32, 32)
    for batch, logits in zip(images, before, strict=True):
        np.testing.assert_allclose(model(batch).numpy(), logits, rtol=0, atol=1e-5)
    model(images[0]).square().mean().backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[name], rtol=0, atol=1e-5, err_msg=name)


def test_a_static_model_at_o2_is_refused():
    with refuses(UserError, key="train.to_static", value=True):
        build_state(load_config(MICRO, ["train.to_static=true"]), None, SimpleNamespace(level="O2"), total_steps=50)


def test_muon_at_o2_is_refused():
    with refuses(UserError, key="optimizer.name", value="Muon"):
        build_state(load_config(MICRO, ["optimizer.name=Muon"]), None, SimpleNamespace(level="O2"), total_steps=50)


def test_the_state_gets_the_configs_optimizer_and_a_warmup_in_steps(nano):
    values = ["name=AdamW", "weight_decay=0.3", "warmup_epochs=1.5", "layer_decay=0.8", "clip_norm=2"]
    config = load_config(MICRO, ["train.epochs=5", *(f"optimizer.{value}" for value in values)])
    state = build_state(config, build.build_model(config), MixedPrecision(), total_steps=5 * 10)
    optimizer, rates = state.optimizer, []
    for _ in range(17):
        rates.append(state.schedule() / config.optimizer.learning_rate)
        state.schedule.step()
    np.testing.assert_allclose(rates[:16], np.arange(1, 17) / 16)  # 15 steps, and the one that has the whole rate
    assert rates[16] < 1
    assert (type(optimizer).__name__, optimizer._weight_decay, optimizer._grad_clip.clip_norm) == ("AdamW", 0.3, 2)
    assert state.model.norm.weight.optimize_attr["learning_rate"] == 1
    assert state.model.layers[-1].block[-1].norm0.weight.optimize_attr["learning_rate"] == 0.8


def test_a_warmup_without_end_is_refused():
    config = load_config(MICRO, ["train.epochs=5", "optimizer.warmup_epochs=5"])
    with refuses(UserError, key="optimizer.warmup_epochs", value=5):
        build_state(config, None, MixedPrecision(), total_steps=50)


def test_more_batches_a_step_than_an_epoch_has_are_refused():
    config = load_config(MICRO, ["train.accumulate=3"])
    assert build.steps_per_epoch(config, range(8)) == 2
    with refuses(UserError, key="train.accumulate", value=3):
        build.steps_per_epoch(config, range(2))


@pytest.mark.parametrize("name", [data.FOLDER, "a format of its own"])
def test_what_is_no_archive_is_not_downloaded_and_has_a_side_of_its_own(name):
    config = load_config(MICRO, ["data.download=true", "data.side=40"])
    config.data.name = name  # a new format is a choice of the option too
    assert build.side(config) == 40
    with refuses(UserError, key="data.download", value=True):
        build.build_dataset(config)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_archive_is_downloaded_if_the_config_says_so(tmp_path, monkeypatch, wanted):
    import functools
    import http.server
    import threading

    archive = archives.write(tmp_path / "served.tar.gz", archives.members(train=20, test=5))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    config = load_config(MICRO, [f"data.file={tmp_path / 'new' / 'a.tar.gz'}", f"data.download={wanted}"])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/served.tar.gz"
        served = dataclasses.replace(data.ARCHIVES["cifar10"], addresses=[address], md5=md5sum(archive))
        monkeypatch.setitem(data.ARCHIVES, "cifar10", served)
        if wanted:
            dataset = build.build_dataset(config)
            assert len(dataset.train) == 20
            assert dataset.official
        else:
            with refuses(data.DataError) as caught:
                build.build_dataset(config)
            assert config.data.file in str(caught.value)
            assert not (tmp_path / "new").exists()
        server.shutdown()
