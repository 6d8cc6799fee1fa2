"""The schema of a config: every option with its meaning, its default and its valid values.

A config is a tree of dataclasses. The metadata of its fields serves the checks, the messages and the documentation.
`data` and `models` never see a config, only plain keyword arguments.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any

from data import ARCHIVES, CIFAR10_1, FOLDER, RANDOM, STRATIFIED
from engine.system import tf32
from engine.system.precision import DTYPES, LEVELS
from models import VARIANTS
from models.windows import PADDING_MASKS

OPTIMIZERS = ("Adam", "AdamW", "Muon")


def option(
    help: str,
    default: Any = MISSING,
    *,
    choices: Sequence[str] | None = None,
    pattern: str | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    free: bool = False,
    path: bool = False,
) -> Any:
    """Declare a config field: its meaning and its valid values (`low` and `high` inclusive, `above` and `below` not).

    `free`: the value does not affect results, so a resumed run may change it. `path`: a leading `~` is expanded.
    """
    valid: dict[str, Any] = {"help": help, "choices": choices, "pattern": pattern, "free": free, "path": path}
    valid |= {"low": low, "high": high, "above": above, "below": below}
    return field(metadata=valid) if default is MISSING else field(default=default, metadata=valid)


@dataclass(kw_only=True)
class ModelConfig:
    name: str = option("which RegionViT variant", choices=tuple(VARIANTS))
    num_classes: int = option("number of classes; must match the data; 0: counted in the data", 0, low=0, below=100_000)
    padding_mask: str = option(
        "`reference`: as in the notebook and the official code; `exact`: masks padding everywhere",
        "reference",
        choices=PADDING_MASKS,
    )
    drop_rate: float = option("dropout on tokens, projections and MLPs", 0.0, low=0, below=1)
    attn_drop_rate: float = option("dropout on attention weights", 0.0, low=0, below=1)
    drop_path_rate: float = option(
        "stochastic depth: rate of the last encoder; the rate rises linearly with depth", 0.0, low=0, below=1
    )


@dataclass(kw_only=True)
class DataConfig:
    name: str = option(
        "data set: an archive of CIFAR-10 or CIFAR-100, a folder of your own pictures with one sub-folder per class, "
        "or (to evaluate on) CIFAR-10.1",
        "cifar10",
        choices=(*ARCHIVES, FOLDER, CIFAR10_1),
    )
    file: str = option(
        "path of the archive, of the folder that contains train/ and val/, or of CIFAR-10.1's `_data.npy`",
        "datasets/cifar-10-python.tar.gz",
        free=True,
        path=True,
    )
    download: bool = option("download the official archive to `data.file` if it is missing", False, free=True)
    side: int = option(
        "folder: each picture is kept as its central square, reduced by area to this side in pixels; 0: "
        "`data.image_size`",
        0,
        low=0,
        below=4097,
    )
    pipeline: str = option(
        "`host`: the notebook's transforms, in worker processes; `fast`: the same augmentation on the GPU, or with "
        "cv2 in worker threads",
        choices=("host", "fast"),
    )
    batch_size: int = option(
        "pictures per batch; training drops the last partial batch of an epoch", low=1, below=100_000
    )
    num_workers: int = option(
        "workers that prepare batches (`host`: processes; `fast`: threads, which a GPU uses only for RandAugment "
        "and for splits over 1 GiB); 0: none, the main process prepares them; does not affect any picture",
        low=0,
        below=257,
        free=True,
    )
    image_size: int = option("side in pixels to which pictures are resized", low=32, below=4097)
    crop: float = option("random crops keep at least this share of a picture's area; 1: no crop", 0.6, above=0, high=1)
    jitter: float = option(
        "strength of random changes of brightness, contrast and saturation: at 0.2 their factors lie between 0.8 and "
        "1.2, but that of saturation, which the notebook's transform draws twice, between 0 and 2.2 "
        "(with any other strength s between 0 and 2 + s); 0: none",
        0.2,
        low=0,
        below=1,
    )
    rotation: float = option("random rotation by up to this many degrees; 0: none", 20.0, low=0, below=180)
    flip: float = option("probability that a training picture is mirrored; 0: none", 0.5, low=0, high=1)
    randaugment: int = option(
        "number of RandAugment operations per training picture, before the other augmentations", 0, low=0, below=15
    )
    randaugment_magnitude: float = option("strength of the RandAugment operations, from 0 to 10", 9.0, low=0, high=10)
    random_erasing: float = option("probability that a rectangle of a training picture is erased", 0.0, low=0, high=1)
    mixup: float = option(
        "alpha of mixup's Beta distribution; 0: no mixup; with `data.cutmix`, each batch gets one of the two",
        0.0,
        low=0,
        below=1000,
    )
    cutmix: float = option("alpha of CutMix's Beta distribution; 0: no CutMix", 0.0, low=0, below=1000)
    holdout: int = option(
        "validate on this many pictures held out of the training set, instead of on the test set", 0, low=0, below=2**31
    )
    # The default is what runs did before there was a choice, and so what their configs mean.
    holdout_split: str = option(
        "how `data.holdout` chooses: `stratified`: the same share of each class; `random`: regardless of classes",
        RANDOM,
        choices=(STRATIFIED, RANDOM),
    )


@dataclass(kw_only=True)
class LossConfig:
    label_smoothing: float = option("share of each label that is spread evenly over all classes", low=0, below=1)


@dataclass(kw_only=True)
class OptimizerConfig:
    name: str = option(
        "`Adam`; `AdamW`: decoupled weight decay, which does not apply to norms, biases and `rel_pos`; `Muon`: the "
        "same, but for the matrices of linear layers and dense convolutions inside the model orthogonalized momentum",
        "Adam",
        choices=OPTIMIZERS,
    )
    learning_rate: float = option(
        "peak learning rate, at the start or after the warm-up; annealed to 0 along a cosine, step by step", above=0
    )
    warmup_epochs: float = option(
        "epochs over which the learning rate first rises from almost 0; the cosine covers the others", 0.0, low=0
    )
    layer_decay: float = option(
        "ratio of each encoder's learning rate to that of the next encoder; the patch embeddings use the rate of "
        "the first; 1: one rate for all",
        1.0,
        above=0,
        high=1,
    )
    weight_decay: float = option(
        "Adam: L2 term added to the gradient (Paddle's `weight_decay`); AdamW and Muon: decoupled weight decay", low=0
    )
    clip_norm: float = option("clip gradients to this norm over all parameters; 0: no clipping", 0.0, low=0)


@dataclass(kw_only=True)
class AmpConfig:
    level: str = option(
        "mixed precision on a GPU: `O0`: none; `O1`: activations in 16 bits; `O2`: the weights of linear layers and "
        "dense convolutions too",
        "O0",
        choices=LEVELS,
    )
    dtype: str = option(
        "16-bit type: `bfloat16` (compute capability 8.0 and newer), `float16` (with loss scaling), or `auto`: the "
        "first that the GPU supports",
        "auto",
        choices=DTYPES,
    )
    allow_tf32: str = option(
        "compute float32 products and convolutions in TF32, on GPUs from compute capability 8.0 on: `default`: as the "
        "installed Paddle does, which is both before 3.3 and convolutions from 3.3.1 on; `always`: both; `never`: "
        "neither",
        tf32.DEFAULT,
        choices=tf32.CHOICES,
    )


@dataclass(kw_only=True)
class TrainConfig:
    epochs: int = option("passes over the training set", low=1, below=1_000_000)
    accumulate: int = option(
        "batches accumulated per optimizer step; the batches left over at the end of an epoch are dropped",
        1,
        low=1,
        below=100_000,
    )
    pretrained: str = option(
        "start a new run from the weights in this file; a head for other classes is newly initialized", "", path=True
    )
    pretrained_resample: bool = option(
        "accept weights of another window size, which are interpolated, or without PEG, which then starts at 0", False
    )
    seed: int = option("seed of initial weights, order, augmentation and dropout", low=0, below=2**32)
    log_interval: int = option(
        "steps between two records, in the log, the history and the dashboard", 10, low=1, below=2**31, free=True
    )
    save_every_steps: int = option(
        "steps between two checkpoints within an epoch; 0: only after each epoch",
        0,
        low=0,
        below=2**31,
        free=True,
    )
    keep_checkpoints: int = option("number of checkpoints to keep, the newest ones", 2, low=1, below=2**31, free=True)
    deterministic: bool = option("make a GPU compute the same bits each time, more slowly; a CPU always does", False)
    to_static: bool = option("compile the forward pass into a static graph", False)
    ema_decay: float = option(
        "decay per step of the moving average (EMA) of the weights, which is then validated and kept instead of "
        "the weights themselves; 0: no average",
        0.0,
        low=0,
        below=1,
    )
    recompute: bool = option(
        "compute each encoder but the last again in the backward pass instead of keeping what it computed: less "
        "memory, more time, the same numbers",
        False,
        free=True,
    )
    prediction_interval: int = option(
        "epochs between two displays of predictions on the dashboard", 5, low=1, below=2**31, free=True
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
    output_dir: str = option("folder of the run; default: `output/<name of the config>`", "", free=True, path=True)
    device: str = option(
        "`auto` uses a GPU if there is one",
        "auto",
        pattern=r"auto|cpu|gpu|gpu:[0-9]{1,3}",
        choices=("auto", "gpu", "gpu:N", "cpu"),
        free=True,
    )


def options(cls: Any = Config) -> dict[str, dataclasses.Field]:
    """Return the fields of all options by their names, as in `flatten`."""
    found: dict[str, dataclasses.Field] = {}
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(item.type):
            found |= {f"{item.name}.{key}": inner for key, inner in options(item.type).items()}
        else:
            found[item.name] = item
    return found


def free_keys() -> set[str]:
    """Return the names of the options that do not affect results."""
    return {key for key, item in options().items() if item.metadata["free"]}
