from pathlib import Path

import pytest
import yaml

from engine.config import build
from engine.config.load import ConfigError, dump_config, flatten, load_config
from models import VARIANTS

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
TINY = next(file for file in CONFIGS if file.stem == "tiny_cifar10")


def by_name(file):
    return file.stem


@pytest.mark.parametrize("file", CONFIGS, ids=by_name)
def test_every_config_loads_and_builds_its_model(file):
    config = load_config(file)
    assert config.model.name in VARIANTS
    assert sum(int(p.size) for p in build.build_model(config).parameters()) > 0


@pytest.mark.parametrize("file", CONFIGS, ids=by_name)
def test_a_resolved_config_reads_back_to_the_same(file, tmp_path):
    config = load_config(file, ["optimizer.learning_rate=3e-5", "output_dir=somewhere"])
    resolved = tmp_path / "config.yaml"
    resolved.write_text(dump_config(config))
    assert load_config(resolved) == config


@pytest.mark.parametrize("file", CONFIGS, ids=by_name)
def test_every_config_says_its_command_and_result(file):
    head = file.read_text().split("\n\n")[0]
    assert f"train.py -c configs/{file.name}" in head
    assert "Result:" in head


def test_every_variant_has_a_config():
    assert {load_config(file).model.name for file in CONFIGS} == set(VARIANTS)


def test_tiny_is_the_notebooks_recipe():
    assert flatten(load_config(TINY)) == {
        "model.name": "regionvit_tiny_224",
        "model.num_classes": 10,
        "model.padding_mask": "reference",
        "model.drop_rate": 0.0,
        "model.attn_drop_rate": 0.0,
        "model.drop_path_rate": 0.0,
        "data.name": "cifar10",
        "data.file": "datasets/cifar-10-python.tar.gz",
        "data.download": False,
        "data.side": 0,
        "data.pipeline": "host",
        "data.batch_size": 64,
        "data.num_workers": 4,
        "data.image_size": 224,
        "data.crop": 0.6,
        "data.jitter": 0.2,
        "data.rotation": 20.0,
        "data.randaugment": 0,
        "data.randaugment_magnitude": 9.0,
        "data.random_erasing": 0.0,
        "data.mixup": 0.0,
        "data.cutmix": 0.0,
        "data.holdout": 0,
        "loss.label_smoothing": 0.1,
        "optimizer.name": "Adam",
        "optimizer.learning_rate": 1e-4,
        "optimizer.warmup_epochs": 0.0,
        "optimizer.layer_decay": 1.0,
        "optimizer.weight_decay": 1e-5,
        "optimizer.clip_norm": 0.0,
        "amp.level": "O0",
        "amp.dtype": "auto",
        "train.epochs": 100,
        "train.accumulate": 1,
        "train.pretrained": "",
        "train.pretrained_resample": False,
        "train.seed": 42,
        "train.log_interval": 10,
        "train.save_every_steps": 0,
        "train.keep_checkpoints": 2,
        "train.deterministic": False,
        "train.to_static": False,
        "train.ema_decay": 0.0,
        "train.recompute": False,
        "train.prediction_interval": 5,
        "records.histograms": 5,
        "output_dir": "output/tiny_cifar10",
        "device": "auto",
    }


BASES = {"tiny_cifar10.yaml", "tiny_cifar10_fast.yaml", "micro_cifar10.yaml", "finetune_tiny_cifar10.yaml"}


def test_other_configs_are_differences_from_tiny():
    for file in CONFIGS:
        if file != TINY:
            assert yaml.safe_load(file.read_text())["_base_"] in BASES


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate", 1e-3),
        ("optimizer.weight_decay=0", "optimizer.weight_decay", 0.0),
        ("data.download=true", "data.download", True),
        ("data.file=123", "data.file", "123"),
        ("data.file=a=b", "data.file", "a=b"),
        ("output_dir=none", "output_dir", "none"),
        ("device=gpu:1", "device", "gpu:1"),
    ],
)
def test_an_override_has_the_type_of_its_key(override, key, value):
    found = flatten(load_config(TINY, [override]))[key]
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_wins():
    assert load_config(TINY, ["data.batch_size=8", "data.batch_size=16"]).data.batch_size == 16


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("foo", ["-o foo", "key.sub=value"]),
        ("data..file=x", ["-o data..file=x", "key.sub=value"]),
        ("optimizer.lerning_rate=1", ["unknown key optimizer.lerning_rate", "did you mean optimizer.learning_rate?"]),
        ("dataa.file=1", ["unknown key dataa", "did you mean data?"]),
        ("data.name=cifar-10", ["data.name: 'cifar-10'", "did you mean 'cifar10'?"]),
        ("data.side=5000", ["data.side: 5000", "below 4097"]),
        ("data.file.x=1", ["data.file", "expected text"]),
        ("data=3", ["data: 3", "expected keys below it"]),
        ("data.batch_size=0", ["data.batch_size: 0", "expected 1 or more"]),
        ("data.batch_size=2.5", ["data.batch_size: 2.5", "a whole number"]),
        ("data.batch_size=true", ["data.batch_size: True", "a whole number"]),
        ("data.download=maybe", ["data.download: 'maybe'", "true or false"]),
        ("data.image_size=31", ["data.image_size: 31", "32 or more"]),
        ("data.randaugment_magnitude=10.5", ["data.randaugment_magnitude: 10.5", "0 or more and 10 or less"]),
        ("data.random_erasing=-0.1", ["data.random_erasing: -0.1", "0 or more and 1 or less"]),
        ("data.mixup=-1", ["data.mixup: -1.0", "0 or more"]),
        ("data.pipeline=fats", ["data.pipeline: 'fats'", "host"]),
        ("loss.label_smoothing=1", ["loss.label_smoothing: 1.0", "0 or more and below 1"]),
        ("optimizer.learning_rate=0", ["optimizer.learning_rate: 0.0", "above 0"]),
        ("optimizer.name=adamw", ["optimizer.name: 'adamw'", "one of Adam, AdamW"]),
        ("optimizer.layer_decay=1.1", ["optimizer.layer_decay: 1.1", "above 0 and 1 or less"]),
        ("optimizer.learning_rate=fast", ["optimizer.learning_rate: 'fast'", "a number"]),
        ("optimizer.learning_rate=.nan", ["optimizer.learning_rate: nan", "a number"]),
        ("model.name=regionvit_tiny", ["model.name: 'regionvit_tiny'", "did you mean 'regionvit_tiny_224'"]),
        ("model.padding_mask=none", ["model.padding_mask: 'none'", "reference, exact"]),
        ("device=tpu", ["device: 'tpu'", "auto, gpu, gpu:N, cpu"]),
        ("data.num_workers=100000", ["data.num_workers: 100000", "0 or more and below 257"]),
        ("train.epochs=99999999999999999999", ["train.epochs", "below 1000000"]),
        ("train.seed=-1", ["train.seed: -1", "0 or more"]),
        ("train.epochs=[1", ["-o train.epochs=[1", "not valid YAML"]),
        ("train.epochs=2001-99-99", ["not valid YAML", "month"]),
    ],
)
def test_a_bad_override_is_refused_in_one_line(override, words):
    with pytest.raises(ConfigError) as error:
        load_config(TINY, [override])
    message = str(error.value)
    assert message.startswith(f"-o {override}")
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("_base_: tiny.yaml\nlerning_rate: 1", ["a.yaml: unknown key lerning_rate", "valid here: model, data"]),
        ("_base_: tiny.yaml\noptimizer: {lerning_rate: 1}", ["a.yaml: unknown key optimizer.lerning_rate"]),
        ("_base_: tiny.yaml\ndata:\n  batch_size: many", ["a.yaml: data.batch_size: 'many'", "a whole number"]),
        ("_base_: tiny.yaml\ndata:", ["a.yaml: data: None", "expected keys below it"]),
        ("_base_: tiny.yaml\ntrain: {seed: 1}\ntrain: {seed: 2}", ["a.yaml: line 3", "'train' stands twice"]),
        ("model: {name: regionvit_tiny_224, num_classes: 10}", ["a.yaml: data.pipeline is missing", "_base_"]),
        ("_base_: none.yaml", ["none.yaml: no such config", "tiny.yaml"]),
        ("_base_: 3", ["a.yaml: _base_: 3", "path"]),
        ("_base_: b.yaml", ["goes round in a circle", "a.yaml -> b.yaml -> a.yaml"]),
        ("- 1\n- 2", ["a.yaml: a config is a mapping", "a list"]),
        ("", ["a.yaml: a config is a mapping", "nothing"]),
        ("model: {name: [", ["a.yaml: line 1", "not valid YAML"]),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "tiny.yaml").write_text(TINY.read_text())
    (tmp_path / "b.yaml").write_text("_base_: a.yaml")
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "a.yaml")
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_an_error_names_the_file_that_the_value_comes_from(tmp_path):
    (tmp_path / "base.yaml").write_text(TINY.read_text().replace("epochs: 100", "epochs: none"))
    (tmp_path / "a.yaml").write_text("_base_: base.yaml\ntrain: {seed: 1}")
    with pytest.raises(ConfigError, match=r"base\.yaml: train\.epochs"):
        load_config(tmp_path / "a.yaml")


def test_a_missing_config_names_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"no such config; there is .*tiny_cifar10\.yaml"):
        load_config(TINY.with_name("tinny.yaml"))
