import os
import pwd
from pathlib import Path

import paddle
import pytest
import yaml

from engine.config import build
from engine.config.load import ConfigError, dump_config, flatten, load_config
from models import VARIANTS
from tests.support.errors import refuses

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
TINY = next(file for file in CONFIGS if file.stem == "tiny_cifar10")


def by_name(file):
    return file.stem


@pytest.mark.parametrize("file", CONFIGS, ids=by_name)
def test_every_config_loads_and_builds_its_model(file):
    config = load_config(file)
    config.model.num_classes = config.model.num_classes or 10  # counted in the data, which is not there
    assert config.model.name in VARIANTS
    with paddle.LazyGuard():  # random values take seconds, and every variant gets them in the tests of models
        model = build.build_model(config)
    assert sum(int(p.size) for p in model.parameters()) > 0
    assert (model.num_classes, model.head.weight.shape[1]) == (config.model.num_classes,) * 2


@pytest.mark.parametrize("file", CONFIGS, ids=by_name)
def test_a_resolved_config_reads_back_to_the_same(file, tmp_path):
    config = load_config(file, ["optimizer.learning_rate=3e-5", "output_dir=somewhere"])
    resolved = tmp_path / "config.yaml"
    resolved.write_text(dump_config(config), encoding="utf-8")
    assert load_config(resolved) == config


@pytest.mark.parametrize("file", CONFIGS, ids=by_name)
def test_every_config_says_its_command_and_result(file):
    head = file.read_text(encoding="utf-8").split("\n\n")[0]
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
        "data.flip": 0.5,
        "data.randaugment": 0,
        "data.randaugment_magnitude": 9.0,
        "data.random_erasing": 0.0,
        "data.mixup": 0.0,
        "data.cutmix": 0.0,
        "data.holdout": 0,
        "data.holdout_split": "stratified",
        "loss.label_smoothing": 0.1,
        "optimizer.name": "Adam",
        "optimizer.learning_rate": 1e-4,
        "optimizer.warmup_epochs": 0.0,
        "optimizer.layer_decay": 1.0,
        "optimizer.weight_decay": 1e-5,
        "optimizer.clip_norm": 0.0,
        "amp.level": "O0",
        "amp.dtype": "auto",
        "amp.allow_tf32": "default",
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
            assert yaml.safe_load(file.read_text(encoding="utf-8"))["_base_"] in BASES


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


BAD_VALUES = {
    "unknown, with a near one": ("optimizer.lerning_rate=1", "optimizer.lerning_rate", 1, "optimizer.learning_rate?"),
    "unknown section": ("dataa.file=1", "dataa", {"file": 1}, "did you mean data?"),
    "not in the list, with a near one": ("data.name=cifar-10", "data.name", "cifar-10", "did you mean 'cifar10'?"),
    "keys below a value": ("data.file.x=1", "data.file", {"x": 1}, "text"),
    "a value for a section": ("data=3", "data", 3, "data.key"),
    "too small": ("data.batch_size=0", "data.batch_size", 0, "1 or more"),
    "too small for a picture": ("data.image_size=31", "data.image_size", 31, "32 or more"),
    "too large": ("data.side=5000", "data.side", 5000, "below 4097"),
    "too large for both bounds": ("data.num_workers=100000", "data.num_workers", 100000, "0 or more and below 257"),
    "enormous": ("train.epochs=99999999999999999999", "train.epochs", 99999999999999999999, "below 1000000"),
    "negative": ("train.seed=-1", "train.seed", -1, "0 or more"),
    "negative fraction": ("data.random_erasing=-0.1", "data.random_erasing", -0.1, "0 or more and 1 or less"),
    "above what is included": ("data.randaugment_magnitude=10.5", "data.randaugment_magnitude", 10.5, "10 or less"),
    "not above what is excluded": ("optimizer.learning_rate=0", "optimizer.learning_rate", 0.0, "above 0"),
    "at what is excluded": ("loss.label_smoothing=1", "loss.label_smoothing", 1.0, "0 or more and below 1"),
    "above 1": ("optimizer.layer_decay=1.1", "optimizer.layer_decay", 1.1, "above 0 and 1 or less"),
    "a whole number as a fraction": ("data.mixup=-1", "data.mixup", -1.0, "0 or more"),
    "a fraction for a whole number": ("data.batch_size=2.5", "data.batch_size", 2.5, "whole number"),
    "true for a whole number": ("data.batch_size=true", "data.batch_size", True, "whole number"),
    "text for true": ("data.download=maybe", "data.download", "maybe", "true or false"),
    "text for a number": ("optimizer.learning_rate=fast", "optimizer.learning_rate", "fast", "number"),
    "not a number": ("optimizer.learning_rate=.nan", "optimizer.learning_rate", None, "number"),
    "pipeline": ("data.pipeline=fats", "data.pipeline", "fats", "host, fast"),
    "optimizer": ("optimizer.name=adamw", "optimizer.name", "adamw", "Adam, AdamW, Muon"),
    "model": ("model.name=regionvit_tiny", "model.name", "regionvit_tiny", "did you mean 'regionvit_tiny_224'"),
    "mask": ("model.padding_mask=none", "model.padding_mask", "none", "reference, exact"),
    "device": ("device=tpu", "device", "tpu", "auto, gpu, gpu:N, cpu"),
}


@pytest.mark.parametrize(("override", "key", "value", "valid"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_bad_value_is_refused_with_its_key_and_what_is_valid(override, key, value, valid):
    fields = {"key": key, "place": f"-o {override}"} | ({} if value is None else {"value": value})
    with refuses(ConfigError, **fields) as caught:
        load_config(TINY, [override])
    message = str(caught.value)
    assert message.startswith(f"-o {override}")
    assert key in message
    assert valid in message, message


@pytest.mark.parametrize("override", ["foo", "data..file=x", "train.epochs=[1", "train.epochs=2001-99-99"])
def test_what_is_not_an_override_or_not_yaml_is_refused(override):
    with refuses(ConfigError, key=None, place=f"-o {override}") as caught:
        load_config(TINY, [override])
    assert str(caught.value).startswith(f"-o {override}")


NUMBERS = {
    "octal": ("data.batch_size=064", "52"),
    "octal zero": ("data.num_workers=00", "0"),
    "octal, as YAML 1.2 has it": ("data.batch_size=0o64", "whole number"),
    "binary": ("data.batch_size=0b11", "3"),
    "hexadecimal": ("data.batch_size=0x40", "64"),
    "base 60": ("train.epochs=1:30", "90"),
    "a fraction of base 60": ("data.rotation=1:30.5", "90.5"),
    "digits in groups": ("train.epochs=1_0", "10"),
    "a fraction with digits in groups": ("data.rotation=1_0.5", "10.5"),
    "an exponent with digits in groups": ("optimizer.learning_rate=1_0e-4", "a number"),
}


@pytest.mark.parametrize("in_file", [False, True], ids=["override", "file"])
@pytest.mark.parametrize(("override", "detail"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_that_yaml_reads_as_another_is_refused(tmp_path, override, detail, in_file):
    key, _, text = override.partition("=")
    section, _, name = key.partition(".")
    file, overrides, place = TINY, [override], f"-o {override}"
    if in_file:
        file = place = tmp_path / "a.yaml"
        file.write_text(f"_base_: {TINY}\n{section}:\n  {name}: {text}\n", encoding="utf-8")
        overrides = []
    with refuses(ConfigError, key=key, value=text, place=place) as caught:
        load_config(file, overrides)
    assert detail in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"), [("+12", 12.0), ("0", 0.0), (".5", 0.5), ("12.", 12.0), ("1e1", 10.0), ("1.5e+1", 15.0)]
)
def test_decimal_numbers_are_read_as_written(text, value):
    assert load_config(TINY, [f"data.rotation={text}"]).data.rotation == value


def test_text_that_yaml_takes_for_a_number_needs_quotes_in_a_file(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(f"_base_: {TINY}\noutput_dir: 1:30\n", encoding="utf-8")
    with refuses(ConfigError, key="output_dir", value="1:30", place=file) as caught:
        load_config(file)
    assert "quotes" in str(caught.value)
    file.write_text(f"_base_: {TINY}\noutput_dir: '1:30'\n", encoding="utf-8")
    assert load_config(file).output_dir == "1:30"


@pytest.mark.parametrize("key", ["data.file", "output_dir", "train.pretrained"])
def test_a_path_may_begin_with_the_home_folder(key, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert flatten(load_config(TINY, [f"{key}=~/x"]))[key] == f"{tmp_path}/x"
    assert flatten(load_config(TINY, [f"{key}=./~/x"]))[key] == "./~/x"
    with refuses(ConfigError, key=key, value="~nobody-here/x"):
        load_config(TINY, [f"{key}=~nobody-here/x"])


def test_a_user_s_home_folder_and_that_of_a_base_are_found(monkeypatch, tmp_path):
    user = pwd.getpwuid(os.getuid())
    assert load_config(TINY, [f"output_dir=~{user.pw_name}/x"]).output_dir == f"{user.pw_dir.rstrip('/')}/x"
    monkeypatch.setenv("HOME", str(TINY.parent))
    (tmp_path / "a.yaml").write_text("_base_: ~/tiny_cifar10.yaml\n", encoding="utf-8")
    assert load_config(tmp_path / "a.yaml").model == load_config(TINY).model


MEANT = {
    "optimizer.lr": "optimizer.learning_rate",
    "optimizer.wd": "optimizer.weight_decay",
    "lr": "optimizer.learning_rate",
    "batch_size": "data.batch_size",
    "train.batch_size": "data.batch_size",
    "train.epoch": "train.epochs",
    "optim.lr": "optimizer?",
}


@pytest.mark.parametrize(("key", "meant"), MEANT.items())
def test_an_unknown_key_is_told_what_it_may_mean(key, meant):
    with refuses(ConfigError, place=f"-o {key}=1") as caught:
        load_config(TINY, [f"{key}=1"])
    assert f"did you mean {meant}" in str(caught.value)


def test_unknown_keys_come_first_and_all_at_once(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("data: {batchsize: 4}\noptimizer: {lr: many}\ntrain: 3\n", encoding="utf-8")
    with refuses(ConfigError, key="data.batchsize", value=4, place=file) as caught:
        load_config(file, ["model.nam=x"])
    for key in ("data.batch_size?", "optimizer.lr:", "-o model.nam=x: unknown key model.nam: did you mean model.name?"):
        assert key in str(caught.value)
    file.write_text("data: {batch_size: 4}", encoding="utf-8")
    with refuses(ConfigError, key="model.name", place=file):
        load_config(file)


BAD_FILES = {
    "unknown key": ("_base_: tiny.yaml\nlerning_rate: 1", "a.yaml", "lerning_rate", "model, data"),
    "unknown key of a section": (
        "_base_: tiny.yaml\noptimizer: {lerning_rate: 1}",
        "a.yaml",
        "optimizer.lerning_rate",
        "learning_rate",
    ),
    "value": ("_base_: tiny.yaml\ndata:\n  batch_size: many", "a.yaml", "data.batch_size", "'many'"),
    "empty section": ("_base_: tiny.yaml\ndata:", "a.yaml", "data", "None"),
    "key twice": ("_base_: tiny.yaml\ntrain: {seed: 1}\ntrain: {seed: 2}", "a.yaml", None, "line 3"),
    "key missing": ("model: {name: regionvit_tiny_224, num_classes: 10}", "a.yaml", "data.pipeline", "_base_"),
    "base missing": ("_base_: none.yaml", "none.yaml", None, "tiny.yaml"),
    "base a number": ("_base_: 3", "a.yaml", "_base_", "3"),
    "bases in a circle": ("_base_: b.yaml", "b.yaml", "_base_", "a.yaml -> b.yaml -> a.yaml"),
    "list": ("- 1\n- 2", "a.yaml", None, "list"),
    "nothing": ("", "a.yaml", None, "nothing"),
    "not YAML": ("model: {name: [", "a.yaml", None, "line 1"),
}


@pytest.mark.parametrize(("text", "place", "key", "detail"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_with_its_place(tmp_path, text, place, key, detail):
    (tmp_path / "tiny.yaml").write_text(TINY.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "b.yaml").write_text("_base_: a.yaml", encoding="utf-8")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with refuses(ConfigError, key=key, place=tmp_path / place) as caught:
        load_config(tmp_path / "a.yaml")
    message = str(caught.value)
    assert message.startswith(str(tmp_path / place))
    assert key is None or key in message
    assert detail in message.removeprefix(str(tmp_path / place)), message


def test_an_error_names_the_file_that_the_value_comes_from(tmp_path):
    (tmp_path / "base.yaml").write_text(
        TINY.read_text(encoding="utf-8").replace("epochs: 100", "epochs: none"), encoding="utf-8"
    )
    (tmp_path / "a.yaml").write_text("_base_: base.yaml\ntrain: {seed: 1}", encoding="utf-8")
    with refuses(ConfigError, key="train.epochs", value="none", place=tmp_path / "base.yaml"):
        load_config(tmp_path / "a.yaml")


def test_a_missing_config_names_those_there_are(tmp_path):
    with refuses(ConfigError, place=TINY.with_name("tinny.yaml")) as caught:
        load_config(TINY.with_name("tinny.yaml"))
    assert str(TINY) in str(caught.value)
