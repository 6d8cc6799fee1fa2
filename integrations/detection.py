"""Detection with PaddleDetection and its configs: training, and predicted boxes and masks over pictures."""

import contextlib
import difflib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TextIO

import cv2
import numpy as np
import paddle
import yaml
from paddle import Tensor, nn
from ppdet.core import workspace
from ppdet.core.config.schema import SchemaDict
from ppdet.data.reader import BatchCompose, Compose
from ppdet.engine import Trainer
from ppdet.engine.callbacks import Callback

from common.errors import InputError
from data import pictures
from engine.errors import UserError, in_short
from engine.system import atomic
from engine.system.seeds import seed_everything
from engine.weights import pdparams
from models.names import first_name

from . import paddledet  # registers the backbone
from .libraries import reading, refuse_misspelled

# PaddleDetection would run code that a config contains.
workspace.yaml = SimpleNamespace(load=lambda stream, Loader: _yaml(stream), Loader=None, dump=yaml.dump)
MODULES = dict(workspace.global_config)
OPTIONS = (  # entries of a config that are no modules, and which PaddleDetection or a config here reads
    *("architecture", "metric", "num_classes", "worker_num", "filename", "weights", "pretrain_weights"),
    *("use_gpu", "use_xpu", "use_npu", "use_mlu", "use_ema", "use_simple_ema", "use_vdl", "use_wandb", "amp"),
    *("epoch", "log_iter", "snapshot_epoch", "save_dir", "output_eval", "print_flops", "print_params"),
    *("ema_decay", "ema_decay_type", "ema_start_iters", "semi_start_iters", "ema_black_list", "ema_filter_no_grad"),
)
READER = ("inputs_def", "fuse_normalize", "mixup_epoch", "cutmix_epoch", "mosaic_epoch")  # beside its arguments
OWN_CHECK = paddledet.RegionViT.__name__  # it takes what `RegionViT` of models/ takes, and names what it does not know
COLORS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (227, 119, 194))  # RGB
READABLE = 384  # pixels: smaller pictures are enlarged before anything is drawn


class Detection(NamedTuple):
    """An object: box [x0, y0, x1, y1] in pixels; mask bool [H, W], None from a model without masks."""

    kind: int
    score: float
    box: np.ndarray
    mask: np.ndarray | None


def load(config: str | Path, overrides: Sequence[str] = ()) -> Any:
    """Return PaddleDetection's one config of the process, with the values of a YAML file and of `key.sub=value`.

    Raises:
        UserError: the file cannot be read, has a misspelled key, or an override names nothing that the config has.
    """
    settings = workspace.global_config
    for key in [key for key, value in settings.items() if not isinstance(value, SchemaDict)]:
        del settings[key]  # of an earlier config: PaddleDetection would merge the two
    for key, module in MODULES.items():
        settings.setdefault(key, module).clear()
    with _explained(config):
        workspace.load_config(str(config))
    refuse_misspelled(settings, [*MODULES, *OPTIONS], config)
    for name in [name for name in MODULES if name.endswith("Reader")]:
        refuse_misspelled(settings[name], [*settings[name].schema, *READER], f"{config}: {name}", anchors=False)
    for text in overrides:
        _override(settings, text)
    return settings


def train(
    config: str | Path, overrides: Sequence[str], output: str | Path, evaluate: bool, seed: int
) -> tuple[nn.Layer, list[float]]:
    """Train the model of a config with PaddleDetection, which writes weights into `output`.

    Args:
        evaluate: also measure the average precision on EvalDataset whenever weights are saved.

    Returns:
        the trained model, and the loss of each step.

    Raises:
        UserError: the config or the data set cannot be used, or `output` has files already.
    """
    with atomic.writing_into(output) as folder:
        if any(folder.iterdir()):
            raise UserError(
                f"--output {folder} has files already: give a new folder", key="--output", value=str(output)
            )
    settings = load(config, overrides)
    for name in ["TrainDataset", "EvalDataset"][: 1 + evaluate]:
        with _explained(config):
            file = _annotations(settings, name)
            if file.suffix == ".json":
                _class_names(file, settings.num_classes)
    settings.use_gpu = paddle.get_device().startswith("gpu")
    settings.save_dir, settings.filename = str(folder.absolute().parent), folder.name  # it joins the two
    settings.output_eval = str(folder)
    seed_everything(seed)
    with _explained(config), reading(lambda: [sample["im_file"] for sample in trainer.dataset.roidbs]):
        trainer = Trainer(settings, mode="train")  # it starts to read
        losses = _Losses(trainer)
        trainer.register_callbacks([losses])
        trainer.train(evaluate)
    if not losses.values:
        raise UserError(
            f"{config}: no step was trained: epoch is {settings.epoch}, and a batch has {trainer.loader.batch_size} "
            "pictures: give 1 epoch or more, and at least as many pictures as a batch has",
            key="epoch",
            value=settings.epoch,
            place=config,
        )
    return trainer.model, losses.values


class _Losses(Callback):
    def __init__(self, trainer: Trainer):
        super().__init__(trainer)
        self.values: list[float] = []

    def on_step_end(self, status: Mapping[str, Any]) -> None:
        if status["mode"] == "train":
            self.values.append(status["training_staus"].meters["loss"].value.item())


class Detector:
    """The model of a config with weights that `train` wrote: pictures to detections.

    Attributes:
        classes: the names of the classes.

    Raises:
        UserError: the config or the weights cannot be used.
    """

    def __init__(self, config: str | Path, overrides: Sequence[str], weights: str | Path):
        settings = load(config, overrides)
        with _explained(config):
            self.classes = _class_names(_annotations(settings, "TestDataset"), settings.num_classes)
            self.model = workspace.create(settings.architecture)
            reader = settings["TestReader"]
            self.prepare = Compose(reader["sample_transforms"], settings.num_classes)
            self.batch = BatchCompose(reader["batch_transforms"], settings.num_classes)
        load_weights(self.model, weights)
        self.model.eval()

    @paddle.no_grad()
    def __call__(self, picture: np.ndarray) -> list[Detection]:
        """Return what is found in a picture, the likeliest first: uint8 [H, W, 3], RGB -> detections."""
        found = self.model(self.prepared(picture))
        rows = found["bbox"].numpy()  # class, score, box
        rows[:, 2:] = rows[:, 2:].clip(0, [*picture.shape[1::-1]] * 2)  # RetinaNet's may leave the picture
        masks = found["mask"].numpy() > 0 if "mask" in found else [None] * len(rows)
        detections = [
            Detection(int(row[0]), float(row[1]), row[2:6], mask)
            for row, mask in zip(rows, masks, strict=True)
            if row[0] >= 0 and row[1] > 0  # not what stands for a box without area, or for no box at all
        ]
        return sorted(detections, key=lambda detection: -detection.score)

    def prepared(self, picture: np.ndarray) -> dict[str, Tensor]:
        """Return the inputs of the model for a picture, by the config's TestReader."""
        sample = self.prepare({"image": picture, "im_id": np.zeros(1, np.int64), "curr_iter": 0})
        return {key: paddle.to_tensor(value) for key, value in self.batch([sample]).items()}


def load_weights(model: nn.Layer, file: str | Path) -> None:
    """Load weights that PaddleDetection wrote, without running code from the file; every name and shape must fit.

    Raises:
        CheckpointError: the file is missing, damaged or does not fit the model, which is unchanged then.
    """
    arrays = pdparams.first_names(pdparams.read(file), file)
    pdparams.check_finite(arrays, file)
    expected = {first_name(key): value for key, value in model.state_dict().items()}
    if problems := pdparams.misfits(arrays, expected):
        raise pdparams.CheckpointError(
            f"{file} does not fit the model: {pdparams.described(problems)}; use the config that it was trained with",
            key=pdparams.first_key(problems),
            place=file,
        )
    pdparams.assign(expected, arrays)


def predict(detector: Detector, files: Sequence[Path], output: str | Path, threshold: float) -> Iterator[str]:
    """Write each picture with its detections as a PNG, and yield lines about them.

    Raises:
        UserError: two pictures have one name.
        DataError: a picture cannot be read.
    """
    names = Counter(file.stem for file in files)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UserError(f"{twice[0]}: several pictures have this name: predict them one by one", value=twice[0])
    with atomic.writing_into(output) as folder:
        for file in files:
            picture = pictures.read(file)
            detections = [found for found in detector(picture) if found.score >= threshold]
            target = folder / f"{file.stem}_detections.png"
            drawn = draw(picture, detections, detector.classes)
            atomic.replace_contents({target: cv2.imencode(".png", drawn[:, :, ::-1])[1].tobytes()})
            yield f"{file}: {len(detections)} found -> {target}"
            for found in detections:
                box = ", ".join(f"{side:.0f}" for side in found.box)
                yield f"  {detector.classes[found.kind]} {found.score:.1%} at [{box}]"


def draw(picture: np.ndarray, detections: Sequence[Detection], classes: Sequence[str]) -> np.ndarray:
    """Draw boxes, masks, names and scores over a picture, which is enlarged if small: uint8 [H, W, 3] -> the same."""
    scale = max(1, min(READABLE // min(picture.shape[:2]), 4 * READABLE // max(picture.shape[:2])))
    image = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    for found in detections:
        if found.mask is not None:
            inside = cv2.resize(found.mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
            image[inside] = (image[inside] * 0.5 + np.array(_color(found)) * 0.5).astype(np.uint8)
    for found in reversed(detections):  # the likeliest on top
        x0, y0, x1, y1 = (int(side) for side in np.rint(found.box * scale))
        cv2.rectangle(image, (x0, y0), (x1, y1), _color(found), 2)
        text = f"{classes[found.kind]} {found.score:.2f}"
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        top = max(y0, height + below)
        cv2.rectangle(image, (x0, top - height - below), (x0 + width, top), _color(found), cv2.FILLED)
        cv2.putText(image, text, (x0, top - below), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def _color(found: Detection) -> tuple[int, int, int]:
    return COLORS[found.kind % len(COLORS)]


def _annotations(settings: Any, name: str) -> Path:
    """Return the file of annotations of a data set. Where it is missing, PaddleDetection would start a download."""
    dataset = settings[name]
    file = Path(dataset.get("dataset_dir") or "", dataset.get("anno_path") or "")
    if not file.is_file():
        raise UserError(
            f"{name}: {file}: no such file of annotations: set {name}.dataset_dir and {name}.anno_path",
            key=f"{name}.anno_path",
            value=str(file),
            place=file,
        )
    return file


def _class_names(file: Path, count: int) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
        names = (
            [kind["name"] for kind in json.loads(text)["categories"]] if file.suffix == ".json" else text.split("\n")
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: no categories with names: expected COCO's annotations", place=file) from error
    names = [name.strip() for name in names if name.strip()]
    if len(names) != count:
        raise UserError(
            f"{file} names {len(names)} classes, num_classes is {count}: give both for the same classes",
            key="num_classes",
            value=count,
            place=file,
        )
    return names


def _override(settings: Any, text: str) -> None:
    """Set `key.sub=value`, which PaddleDetection would do for keys that nothing reads, too."""
    path, equals, value = text.partition("=")
    *above, last = path.split(".")
    node: Any = settings
    for key in above:
        node = node.get(key) if isinstance(node, dict) else None
    known = [*(node or {}), *getattr(node, "schema", {})] if isinstance(node, dict) else []
    if not equals or (last not in known and above != [OWN_CHECK]):
        close = difflib.get_close_matches(last, known, n=1)
        hint = f"did you mean {close[0]}?" if close and equals else "expected key.sub=value with a key of the config"
        raise UserError(f"-o {text}: the config has no {path}: {hint}", key=path, value=value)
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"-o {text}: not a value in YAML", key=path, value=value) from error
    if isinstance(node[last], str):
        with contextlib.suppress(ValueError):  # YAML takes 1e-4 for text
            node[last] = float(node[last])


def _yaml(stream: TextIO) -> dict[str, Any]:
    values = yaml.load(stream, yaml.FullLoader)  # it knows PaddleDetection's tags, as !COCODataSet
    if not isinstance(values, dict):
        raise UserError(f"{stream.name}: expected keys and values in YAML", key="--config", place=stream.name)
    return values


@contextlib.contextmanager
def _explained(config: str | Path) -> Iterator[None]:
    """Turn what PaddleDetection raises about a config into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = f"no entry {error}" if isinstance(error, KeyError) else in_short(error)
        raise UserError(f"{config}: PaddleDetection cannot use it: {reason}", key="--config", place=config) from error
