"""Configs: YAML files with `_base_`, overrides from the command line, strict checks, and the resolved result.

A config is a tree of dataclasses; each field's metadata says which values are valid, so that one place serves the
checks, the messages and the documentation. `data` and `models` never see a config, only plain keyword arguments.
"""

import dataclasses
import difflib
import math
import operator
import re
from dataclasses import MISSING, dataclass, field
from pathlib import Path

import yaml

from data import ARCHIVES, FOLDER
from models import VARIANTS
from models.windows import PADDING_MASKS

from .amp import DTYPES, LEVELS
from .errors import UserError
from .optimizer import OPTIMIZERS

BASE_KEY = "_base_"


class ConfigError(UserError):
    """A config cannot be used; the message names the file, the key, the value and what is valid."""


def option(
    help, default=MISSING, *, choices=None, pattern=None, low=None, high=None, above=None, below=None, free=False
):
    """Declare a config field: what it means and which values are valid (`low` and `high` included, the others not).

    `free`: it decides no number of a run, so that a resumed run may have another value.
    """
    valid = {"help": help, "choices": choices, "pattern": pattern, "free": free}
    valid |= {"low": low, "high": high, "above": above, "below": below}
    return field(metadata=valid) if default is MISSING else field(default=default, metadata=valid)


@dataclass(kw_only=True)
class ModelConfig:
    name: str = option("which RegionViT", choices=tuple(VARIANTS))
    num_classes: int = option("classes; has to be the data's number", low=2, below=100_000)
    padding_mask: str = option(
        "`reference` computes what the notebook and the official weights do, `exact` keeps padding out everywhere",
        "reference",
        choices=PADDING_MASKS,
    )
    drop_rate: float = option("dropout on tokens, projections and MLPs", 0.0, low=0, below=1)
    attn_drop_rate: float = option("dropout on attention weights", 0.0, low=0, below=1)
    drop_path_rate: float = option("stochastic depth of the last encoder; rises linearly to it", 0.0, low=0, below=1)


@dataclass(kw_only=True)
class DataConfig:
    name: str = option(
        "which data: an archive of CIFAR-10 or CIFAR-100, or one's own pictures in class sub-folders",
        "cifar10",
        choices=(*ARCHIVES, FOLDER),
    )
    file: str = option(
        "the archive, or the folder that has train/ and val/", "datasets/cifar-10-python.tar.gz", free=True
    )
    download: bool = option("download the official archive to `data.file` if it is not there", False, free=True)
    side: int = option(
        "folder: pictures are kept as their middle square, reduced by area to that side; 0: `data.image_size`",
        0,
        low=0,
        below=4097,
    )
    pipeline: str = option(
        "`host`: the notebook's transforms in worker processes; `fast`: the same augmentation on the GPU, or by cv2 in "
        "worker threads",
        choices=("host", "fast"),
    )
    batch_size: int = option(
        "pictures a batch; the last partial batch of an epoch is dropped in training", low=1, below=100_000
    )
    num_workers: int = option(
        "workers (`host`: processes; `fast`: threads, on a GPU for RandAugment and for splits over 1 GiB); 0 works in "
        "the main one; changes no picture",
        low=0,
        below=257,
        free=True,
    )
    image_size: int = option("side in pixels that pictures are resized to", low=32, below=4097)
    crop: float = option("random crops keep at least that share of a picture's area", 0.6, above=0, high=1)
    jitter: float = option("random change of brightness, contrast and saturation", 0.2, low=0, below=1)
    rotation: float = option("random rotation by up to so many degrees", 20.0, low=0, below=180)
    randaugment: int = option("RandAugment: operations on each training picture, before the rest", 0, low=0, below=15)
    randaugment_magnitude: float = option("how strong these are, from 0 to 10", 9.0, low=0, high=10)
    random_erasing: float = option("probability that a rectangle of a training picture is erased", 0.0, low=0, high=1)
    mixup: float = option(
        "mixup: alpha of the Beta distribution of shares; 0: none; with `data.cutmix`, one of the two a batch",
        0.0,
        low=0,
        below=1000,
    )
    cutmix: float = option("CutMix: alpha of the Beta distribution of shares; 0: none", 0.0, low=0, below=1000)
    holdout: int = option(
        "validate on that many pictures held out of the training set, not on the test set", 0, low=0, below=2**31
    )


@dataclass(kw_only=True)
class LossConfig:
    label_smoothing: float = option("share of each label spread over all classes", low=0, below=1)


@dataclass(kw_only=True)
class OptimizerConfig:
    name: str = option(
        "`Adam`, or `AdamW`: with decoupled weight decay, which spares norms, biases and `rel_pos`",
        "Adam",
        choices=OPTIMIZERS,
    )
    learning_rate: float = option(
        "at the start, or after the warm-up; annealed to 0 along a cosine, step by step", above=0
    )
    warmup_epochs: float = option(
        "epochs over which the learning rate first rises from nearly 0; the cosine has the others", 0.0, low=0
    )
    layer_decay: float = option(
        "each encoder learns at that many times the rate of the next one, the patch embeddings at that of the first; "
        "1: all at one rate",
        1.0,
        above=0,
        high=1,
    )
    weight_decay: float = option("L2 added to the gradient (Paddle's `weight_decay` of Adam); of AdamW its own", low=0)
    clip_norm: float = option("clip gradients to that norm over all parameters; 0: do not", 0.0, low=0)


@dataclass(kw_only=True)
class AmpConfig:
    level: str = option(
        "mixed precision on a GPU: `O0` none; `O1` matrix products and convolutions in 16 bits; `O2` the weights too",
        "O0",
        choices=LEVELS,
    )
    dtype: str = option(
        "16 bits of which kind: `bfloat16` (compute capability 8.0 and newer), `float16` (with loss scaling), or "
        "`auto`: the first that the GPU has",
        "auto",
        choices=DTYPES,
    )


@dataclass(kw_only=True)
class TrainConfig:
    epochs: int = option("passes over the training set", low=1, below=1_000_000)
    accumulate: int = option(
        "batches a step, which add up to one batch so many times as large; what is left of an epoch is dropped",
        1,
        low=1,
        below=100_000,
    )
    pretrained: str = option(
        "start a new run from the weights in this file; a head for another number of classes starts anew", ""
    )
    pretrained_resample: bool = option(
        "let these be weights of another window size, which are interpolated, or without PEG, which starts at 0", False
    )
    seed: int = option("of initial weights, order, augmentation and dropout", low=0, below=2**32)
    log_interval: int = option("record and log every so many steps of an epoch", 10, low=1, below=2**31, free=True)
    save_every_steps: int = option(
        "save a checkpoint to resume from every so many steps; 0: after each epoch only",
        0,
        low=0,
        below=2**31,
        free=True,
    )
    keep_checkpoints: int = option("keep that many of them", 2, low=1, below=2**31, free=True)
    deterministic: bool = option("have a GPU compute the same bits each time, more slowly; a CPU always does", False)
    to_static: bool = option("compile the forward pass into a static graph", False)
    ema_decay: float = option(
        "validate and keep an exponential moving average of the weights, which keeps that share of itself a step; 0: "
        "the weights themselves",
        0.0,
        low=0,
        below=1,
    )
    recompute: bool = option(
        "forget what an encoder computed and compute it again in the backward pass: less memory, more time, the same "
        "numbers",
        False,
        free=True,
    )
    prediction_interval: int = option(
        "epochs between what predictions are shown on the dashboard", 5, low=1, below=2**31, free=True
    )


@dataclass(kw_only=True)
class RecordsConfig:
    histograms: int = option(
        "epochs between histograms of parameters and gradients on the dashboard; 0: none",
        5,
        low=0,
        below=2**31,
        free=True,
    )


@dataclass(kw_only=True)
class Config:
    model: ModelConfig
    data: DataConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    amp: AmpConfig
    train: TrainConfig
    records: RecordsConfig
    output_dir: str = option("folder of the run; default `output/<name of the config>`", "", free=True)
    device: str = option(
        "`auto` takes a GPU where there is one",
        "auto",
        pattern=r"auto|cpu|gpu|gpu:[0-9]{1,3}",
        choices=("auto", "gpu", "gpu:N", "cpu"),
        free=True,
    )


def load(file, overrides=()):
    """Read a YAML config and what it is based on, apply overrides "key.sub=value", and check everything.

    Raises:
        ConfigError: one line that names the file (or the override), the key, the value and what is valid.
    """
    file = Path(file)
    origins = {}
    tree = _read(file, origins, seen=())
    for override in overrides:
        _override(tree, override, origins)
    config = _build(Config, tree, (), origins, file)
    if not config.output_dir:
        config.output_dir = str(Path("output") / file.stem)
    return config


def dump(config):
    """Return a config as YAML that `load` reads back to the same."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)


def flatten(config):
    """Return a config as a flat dict {"model.name": ...}."""
    flat = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        inner = flatten(value) if dataclasses.is_dataclass(value) else {"": value}
        flat.update({f"{item.name}.{key}" if key else item.name: value for key, value in inner.items()})
    return flat


def options(cls=Config):
    """Return the fields of all options by their names, as in `flatten`."""
    found = {}
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(item.type):
            found |= {f"{item.name}.{key}": inner for key, inner in options(item.type).items()}
        else:
            found[item.name] = item
    return found


def free_keys():
    """Return the names of the options that decide no number of a run."""
    return {key for key, item in options().items() if item.metadata["free"]}


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


def _parse(text, where):
    try:
        return yaml.load(text, _Loader)
    except (ValueError, KeyError, RecursionError) as error:  # a date that is none, or nesting without end
        raise ConfigError(f"{where}: not valid YAML: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise ConfigError(f"{where}:{line} not valid YAML: {problem}") from error


def _read(file, origins, seen):
    """The tree of a file laid over its base's; `origins` notes which file a key comes from."""
    if file.resolve() in seen:
        chain = " -> ".join(path.name for path in (*seen, file))
        raise ConfigError(
            f"{seen[-1]}: {BASE_KEY} goes round in a circle ({chain}): let one of them have no {BASE_KEY}"
        )
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        here = sorted(str(path) for path in file.parent.glob("*.yaml"))
        hint = f"; there is {', '.join(here)}" if here else ""
        raise ConfigError(f"{file}: no such config{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as a config ({error})") from error
    tree = _parse(text, file)
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: a config is a mapping of keys to values, not {_kind(tree)}")
    base = tree.pop(BASE_KEY, None)
    if base is not None and not isinstance(base, str):
        raise ConfigError(f"{file}: {BASE_KEY}: {base!r}, expected the path of one config, relative to this one")
    below = _read(file.parent / base, origins, (*seen, file.resolve())) if base else {}
    return _merge(below, tree, origins, file, ())


def _merge(below, above, origins, where, path):
    merged = dict(below)
    for key, value in above.items():
        inner = (*path, key)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            merged[key] = _merge(below[key], value, origins, where, inner)
        else:
            merged[key] = value
            _note(origins, inner, value, where)
    return merged


def _note(origins, path, value, where):
    origins[path] = where
    if isinstance(value, dict):
        for key, inner in value.items():
            _note(origins, (*path, key), inner, where)


def _override(tree, text, origins):
    key, equals, value = text.partition("=")
    where = f"-o {text}"
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"{where}: expected key.sub=value, as in -o data.batch_size=32")
    wanted = _type_at(Config, path)
    for part in reversed(path):
        value = {part: value if wanted is str or isinstance(value, dict) else _parse(value, where)}
    tree.update(_merge(tree, value, origins, where, ()))


def _type_at(cls, path):
    """The type of the field that a path leads to; None where there is none."""
    types = {item.name: item.type for item in dataclasses.fields(cls)}
    found = types.get(path[0])
    if len(path) == 1 or not dataclasses.is_dataclass(found):
        return found if len(path) == 1 else None
    return _type_at(found, path[1:])


def _build(cls, tree, path, origins, file):
    fields = {item.name: item for item in dataclasses.fields(cls)}
    for key in tree:
        if key not in fields:
            name = ".".join(map(str, (*path, key)))
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {'.'.join((*path, close[0]))}? " if close else ""
            where = origins.get((*path, key), file)
            raise ConfigError(f"{where}: unknown key {name}: {hint}valid here: {', '.join(fields)}")
    values = {}
    for name, item in fields.items():
        inner, dotted = (*path, name), ".".join((*path, name))
        if dataclasses.is_dataclass(item.type):
            subtree = tree.get(name, {})
            if not isinstance(subtree, dict):
                where = origins.get(inner, file)
                raise ConfigError(f"{where}: {dotted}: {subtree!r}, expected keys below it, as {dotted}.key: value")
            values[name] = _build(item.type, subtree, inner, origins, file)
        elif name in tree:
            values[name] = _checked(item, tree[name], dotted, origins.get(inner, file))
        elif item.default is MISSING:
            raise ConfigError(f"{file}: {dotted} is missing: give it, or start from `{BASE_KEY}: tiny_cifar10.yaml`")
    return cls(**values)


def _checked(item, value, dotted, where):
    """Return the value as the field's type, if it is valid."""

    def refuse(expected):
        raise ConfigError(f"{where}: {dotted}: {value!r}, expected {expected}")

    valid, wanted = item.metadata, item.type
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):  # of a name's odd bytes
        refuse("text in UTF-8")
    if wanted is float and isinstance(value, str):
        try:
            value = float(value)  # PyYAML reads 1e-4 as text
        except ValueError:
            refuse("a number")
    if wanted is float and type(value) is int and abs(value) < 1e300:
        value = float(value)
    if type(value) is not wanted or (wanted is float and not math.isfinite(value)):
        refuse({int: "a whole number", float: "a number", bool: "true or false", str: "text"}[wanted])
    if valid["pattern"]:
        if not re.fullmatch(valid["pattern"], value):
            refuse(f"one of {', '.join(valid['choices'])}")
    elif valid["choices"] and value not in valid["choices"]:
        close = difflib.get_close_matches(value, valid["choices"], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        refuse(f"one of {', '.join(valid['choices'])}{hint}")
    bounds = {"above": operator.gt, "low": operator.ge, "below": operator.lt, "high": operator.le}
    if not all(valid[name] is None or within(value, valid[name]) for name, within in bounds.items()):
        words = {"above": "above {}", "low": "{} or more", "below": "below {}", "high": "{} or less"}
        refuse(" and ".join(text.format(valid[name]) for name, text in words.items() if valid[name] is not None))
    return value


def _kind(value):
    return {type(None): "nothing", list: "a list", str: "text"}.get(type(value), type(value).__name__)
