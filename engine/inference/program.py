"""An export is a model as a program that needs no code of this project; here is how this project runs one."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from engine import filenames
from engine.errors import UserError
from engine.system import atomic
from engine.system.tuning import cpu_threads
from engine.weights.temperature import Temperature, is_temperature

Run = Callable[[np.ndarray], list[np.ndarray]]  # pictures [B, 3, H, W] -> the outputs, in their order
CLASSIFICATION, FEATURES = "classification", "features"  # what an export is for
CUDA = "CUDAExecutionProvider"  # onnxruntime's name for a GPU
FOR_ONNX = ("onnx", "paddle2onnx", "onnxruntime")
FOR_INT8 = ("ml_dtypes",)  # onnxruntime.quantization imports it, and onnxruntime does not require it
INSTALL = "pip install -r requirements/export.txt (with Paddle 2.6: requirements/export-2.6.txt)"


def is_export(weights: Path) -> bool:
    """Return whether a file holds the weights of an export, not those of a model: its suffix decides."""
    return weights.suffix in (".onnx", ".pdiparams")


def weights_in(path: Path) -> Path:
    """Return the weights of an export, given its folder or one of its files; any other path is returned unchanged.

    Raises:
        UserError: the folder does not hold an export.
    """
    if not path.is_dir() and path.name not in (filenames.DESCRIPTION, *filenames.PADDLE_PROGRAMS):
        return path
    folder = path if path.is_dir() else path.parent
    return folder / filenames.EXPORTED_WEIGHTS[read(folder)["format"]]


def read(folder: Path) -> dict[str, Any]:
    """Return an export's description, its `preprocessing.json`, without checking the other files.

    Raises:
        UserError: the description is missing or damaged.
    """
    file = folder / filenames.DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        shape, listed = description["input"]["shape"], description["files"]
        valid = (
            filenames.EXPORTED_WEIGHTS[description["format"]] in listed
            and len(shape) == 4
            and all(type(text) is str for text in (*listed, *listed.values()))
            and all(Path(name).name == name for name in listed)
            and {"model", "padding_mask"} <= set(description)
            and type(precision_of(description)) is str
            and OF_TASK[task_of(description)](description)
        )
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no {filenames.DESCRIPTION} in it, so not an export: make one with `python tools/export.py`",
            key=filenames.DESCRIPTION,
            place=folder,
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file}: not readable as an export's description ({error!r}): export again",
            key=filenames.DESCRIPTION,
            place=file,
        ) from error
    if not valid:
        raise UserError(
            f"{file}: not the description of an export: export again", key=filenames.DESCRIPTION, place=file
        )
    return description


def _of_classification(description: dict[str, Any]) -> bool:
    """Return whether a description has what only an export that returns logits needs."""
    classes = description["classes"]
    return (
        (classes is None or [type(name) for name in classes] == [str] * description["num_classes"])
        and {"image_size", "side"} <= set(description)
        and is_temperature(description.get("temperature", 1.0))  # older exports have none
    )


def _of_features(description: dict[str, Any]) -> bool:
    """Return whether a description has what only an export that returns feature maps needs."""
    return all(type(output["name"]) is str and len(output["shape"]) == 4 for output in description["outputs"])


OF_TASK = {CLASSIFICATION: _of_classification, FEATURES: _of_features}


def describe(weights: Path) -> dict[str, Any]:
    """Return the description of the export that these weights belong to, after checking all its files.

    Raises:
        UserError: the description is missing, damaged or of other weights, or a file has changed since the export.
    """
    folder = weights.parent
    description = read(folder)
    if weights.name not in description["files"]:
        raise UserError(
            f"{weights}: does not belong to the export in its folder, which lists {', '.join(description['files'])}: "
            "give one of these",
            key="--weights",
            value=weights.name,
            place=folder,
        )
    for name, digest in description["files"].items():
        part = folder / name
        if not part.is_file() or atomic.sha256sum(part) != digest:
            raise UserError(
                f"{part}: {'changed' if part.exists() else 'missing'} since the export: export again",
                key=name,
                place=part,
            )
    return description


def temperature(folder: Path, description: dict[str, Any]) -> Temperature:
    """Return the temperature of the export in a folder, as its description notes it; of an older export it is 1."""
    value = description.get("temperature", 1.0)
    about = f"temperature: {value:.4f}, noted in {folder / filenames.DESCRIPTION}"
    return Temperature(value, about if value != 1 else "")


def precision_of(description: dict[str, Any]) -> str:
    """Return the precision that an export computes in; older exports do not say it."""
    return description.get("precision", "float32")


def task_of(description: dict[str, Any]) -> str:
    """Return what an export is for; older exports, which are all for classification, do not say it."""
    return description.get("task", CLASSIFICATION)


def device_for(format: str, wanted: str) -> str:
    """Return the device to select: `auto` means the CPU for ONNX if this onnxruntime cannot use a GPU."""
    if format != "paddle" and wanted == "auto" and CUDA not in _onnxruntime().get_available_providers():
        return "cpu"
    return wanted


class Exported(paddle.nn.Layer):
    """An export as a layer without gradients: pictures [B, 3, H, W] -> logits [B, classes], or a list of feature maps.

    Args:
        folder: the folder of the export.
        description: its description, as `describe` returns it.
        device: as `select_device` returns it.

    Raises:
        UserError: its runtime is not installed, or cannot read it.
    """

    def __init__(self, folder: Path, description: dict[str, Any], device: str):
        super().__init__()
        self.shape = description["input"]["shape"][1:]
        self.returns_list = task_of(description) == FEATURES
        self.run = RUNNERS[description["format"]](folder, device)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        shape = list(x.shape[1:])
        if shape != self.shape:
            raise UserError(
                f"data.image_size: pictures are {shape}, but the export takes {self.shape}: set the size it was "
                "exported with",
                key="data.image_size",
                value=shape,
            )
        outputs = [paddle.to_tensor(output) for output in self.run(np.ascontiguousarray(x.numpy()))]
        return outputs if self.returns_list else outputs[0]


def paddle_inference(folder: Path, device: str) -> Run:
    """Return a function that runs Paddle's program with Paddle Inference; UserError as `predictor`."""
    made = predictor(folder, device)
    source = made.get_input_handle(made.get_input_names()[0])
    results = [made.get_output_handle(name) for name in made.get_output_names()]

    def run(images: np.ndarray) -> list[np.ndarray]:
        source.reshape(images.shape)
        source.copy_from_cpu(images)
        made.run()
        return [result.copy_to_cpu() for result in results]

    return run


def predictor(folder: Path, device: str) -> Any:
    """Return Paddle Inference's predictor of a program.

    Raises:
        UserError: another version of Paddle wrote the program, or it cannot be read.
    """
    from paddle import inference

    readable = filenames.PADDLE_PROGRAMS[1:] if paddle.__version__.startswith("2.") else filenames.PADDLE_PROGRAMS
    programs = [folder / name for name in readable if (folder / name).exists()]
    if not programs:
        raise UserError(
            f"{folder}: no {' or '.join(readable)} in it, and Paddle {paddle.__version__} reads nothing else: "
            "export with this Paddle, or as onnx",
            key=filenames.PROGRAM,
            place=folder,
        )
    config = inference.Config(str(programs[0]), str(folder / filenames.EXPORTED_WEIGHTS["paddle"]))
    if device == "cpu":
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(cpu_threads())
        config.disable_mkldnn()  # it crashes where it fuses transposes and reshapes: Paddle 2.6.2 and 3.3.1
    else:
        config.enable_use_gpu(256, int(device.partition(":")[2]))  # MB to begin with
    config.disable_glog_info()
    # Delete it last, or it comes back. On Paddle 2.6 it crashes where a parameter is concatenated.
    config.delete_pass("seqpool_cvm_concat_fuse_pass")
    try:
        return inference.create_predictor(config)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{programs[0]}: Paddle Inference cannot read it ({_in_short(error)}): export again",
            key=programs[0].name,
            place=programs[0],
        ) from error


def onnx_runtime(folder: Path, device: str) -> Run:
    """Return a function that runs an ONNX model with onnxruntime.

    Raises:
        UserError: onnxruntime is not installed, cannot use this GPU, or cannot read the model.
    """
    onnxruntime, model = _onnxruntime(), folder / filenames.EXPORTED_WEIGHTS["onnx"]
    provider: tuple[str, dict[str, int]] = ("CPUExecutionProvider", {})
    if device != "cpu":
        provider = (CUDA, {"device_id": int(device.partition(":")[2])})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    try:
        session = onnxruntime.InferenceSession(str(model), options, [provider])
    except Exception as error:  # onnxruntime raises a different class for each kind of error
        raise UserError(
            f"{model}: onnxruntime cannot read it ({_in_short(error)}): export again", key=model.name, place=model
        ) from error
    if session.get_providers()[0] != provider[0]:  # it silently falls back to the CPU
        raise UserError(
            f"device: {device}, but this onnxruntime cannot use it: use device=cpu, or install onnxruntime-gpu",
            key="device",
            value=device,
        )
    (source,) = session.get_inputs()
    return lambda images: session.run(None, {source.name: images})


def check_installed(*packages: str) -> None:
    """Raise UserError if one of these packages, which ONNX needs, is not installed."""
    for name in packages:
        if not importlib.util.find_spec(name):
            raise UserError(f"ONNX needs {name}: {INSTALL}", key="onnx", value=name)


def _onnxruntime() -> Any:
    check_installed("onnxruntime")
    import onnxruntime

    return onnxruntime


RUNNERS = {"paddle": paddle_inference, "onnx": onnx_runtime, "web": onnx_runtime}
NAMES = {"paddle": "Paddle Inference", "onnx": "onnxruntime", "web": "onnxruntime"}  # of the runtimes, by format


def _in_short(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
