"""The schema of a config: every option with its meaning, its default and its valid values.

A config is a tree of dataclasses. Each field's metadata says which values are valid, and serves the checks, the
messages and the documentation. `data` and `models` never see a config, only plain keyword arguments.
"""

import dataclasses
from dataclasses import MISSING, dataclass, field

from data import ARCHIVES, FOLDER
from engine.system.precision import DTYPES, LEVELS
from models import VARIANTS
from models.windows import PADDING_MASKS

OPTIMIZERS = ("Adam", "AdamW")


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
