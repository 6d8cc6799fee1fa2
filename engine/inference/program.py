"""An export: a model as a program that no code of this project is needed for, and how this project runs one."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import paddle

from engine import filenames
from engine.errors import UserError
from engine.system import atomic
from engine.system.tuning import cpu_threads

CUDA = "CUDAExecutionProvider"  # onnxruntime's name of a GPU
FOR_ONNX = ("onnx", "paddle2onnx", "onnxruntime")
INSTALL = "pip install -r requirements/export.txt (with Paddle 2.6: requirements/export-2.6.txt)"


def is_export(weights):
    """Tell the weights of an export from a file of weights alone, by how their name ends."""
    return weights.suffix in (".onnx", ".pdiparams")


def weights_in(path):
    """Return the file with the weights of an export, for its folder or another of its files; else the path itself.

    Raises:
        UserError: a folder without an export.
    """
    if not path.is_dir() and path.name not in (filenames.DESCRIPTION, *filenames.PADDLE_PROGRAMS):
        return path
    folder = path if path.is_dir() else path.parent
    return folder / filenames.EXPORTED_WEIGHTS[read(folder)["format"]]


def read(folder):
    """Return what an export's `preprocessing.json` says of it, whether or not its files are what they were.

    Raises:
        UserError: it is missing or damaged.
    """
    file = folder / filenames.DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        shape, classes, listed = description["input"]["shape"], description["classes"], description["files"]
        valid = (
            filenames.EXPORTED_WEIGHTS[description["format"]] in listed
            and len(shape) == 4
            and (classes is None or [type(name) for name in classes] == [str] * description["num_classes"])
            and all(type(of) is str for of in (*listed, *listed.values()))
            and all(Path(name).name == name for name in listed)
            and {"model", "padding_mask", "image_size", "side"} <= set(description)
        )
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no {filenames.DESCRIPTION}, so no export: make one by `python tools/export.py`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file}: not readable as an export's description ({error!r}): export again") from error
    if not valid:
        raise UserError(f"{file}: not the description of an export: export again")
    return description


def describe(weights):
    """Return what the `preprocessing.json` beside an export's weights says of it.

    Raises:
        UserError: it is missing or damaged, or of other weights, or a file of the export is not what it was.
    """
    folder = weights.parent
    description = read(folder)
    if weights.name not in description["files"]:
        raise UserError(f"{weights}: not of the export in that folder, which has {', '.join(description['files'])}")
    for name, digest in description["files"].items():
        part = folder / name
        if not part.is_file() or atomic.sha256sum(part) != digest:
            raise UserError(f"{part}: {'altered' if part.exists() else 'missing'} since it was exported: export again")
    return description


def device_for(format, wanted):
    """Return the device to ask for: `auto` means a CPU where this onnxruntime has no other."""
    if format == "onnx" and wanted == "auto" and CUDA not in _onnxruntime().get_available_providers():
        return "cpu"
    return wanted


class Exported(paddle.nn.Layer):
    """An export as a layer: pictures [B, 3, size, size] -> logits [B, classes], without gradients.

    Args:
        folder: where its files are; the description is that of `describe`.
        device: as `select_device` names it.

    Raises:
        UserError: what runs it is not installed, or cannot read it.
    """

    def __init__(self, folder, description, device):
        super().__init__()
        self.shape = description["input"]["shape"][1:]
        self.run = RUNNERS[description["format"]](folder, device)

    def forward(self, x):
        if list(x.shape[1:]) != self.shape:
            raise UserError(f"data.image_size: pictures are {x.shape[1:]}, but the export takes {self.shape}")
        return paddle.to_tensor(self.run(np.ascontiguousarray(x.numpy())))


def paddle_inference(folder, device):
    """Return a function, arrays [B, 3, size, size] -> [B, classes], that runs Paddle's program by Paddle Inference.

    Raises:
        UserError: the program is of another Paddle, or cannot be read.
    """
    from paddle import inference

    readable = filenames.PADDLE_PROGRAMS[1:] if paddle.__version__.startswith("2.") else filenames.PADDLE_PROGRAMS
    programs = [folder / name for name in readable if (folder / name).exists()]
    if not programs:
        raise UserError(
            f"{folder}: has no {' or '.join(readable)}, and Paddle {paddle.__version__} reads no other program: "
            "export with this Paddle, or as onnx"
        )
    config = inference.Config(str(programs[0]), str(folder / filenames.EXPORTED_WEIGHTS["paddle"]))
    if device == "cpu":
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(cpu_threads())
        config.disable_mkldnn()  # fusing transposes and reshapes, it crashes on this model: Paddle 2.6.2 and 3.3.1
    else:
        config.enable_use_gpu(256, int(device.partition(":")[2]))  # MB to begin with
    config.disable_glog_info()
    # Last, or it is there again. It crashes on Paddle 2.6 where a parameter is concatenated.
    config.delete_pass("seqpool_cvm_concat_fuse_pass")
    try:
        predictor = inference.create_predictor(config)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{programs[0]}: Paddle Inference cannot read it ({_in_short(error)}): export again") from error
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    result = predictor.get_output_handle(predictor.get_output_names()[0])

    def run(images):
        source.reshape(images.shape)
        source.copy_from_cpu(images)
        predictor.run()
        return result.copy_to_cpu()

    return run


def onnx_runtime(folder, device):
    """Return a function, arrays [B, 3, size, size] -> [B, classes], that runs an ONNX model by onnxruntime.

    Raises:
        UserError: onnxruntime is not installed, cannot use the GPU that is asked for, or cannot read the model.
    """
    onnxruntime, model = _onnxruntime(), folder / filenames.EXPORTED_WEIGHTS["onnx"]
    provider = ("CPUExecutionProvider", {}) if device == "cpu" else (CUDA, {"device_id": int(device.partition(":")[2])})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    try:
        session = onnxruntime.InferenceSession(str(model), options, [provider])
    except Exception as error:  # onnxruntime has a class of its own for each kind
        raise UserError(f"{model}: onnxruntime cannot read it ({_in_short(error)}): export again") from error
    if session.get_providers()[0] != provider[0]:  # it goes on with a CPU
        raise UserError(f"device: {device}, but this onnxruntime cannot use it: use device=cpu, or onnxruntime-gpu")
    (source,), (result,) = session.get_inputs(), session.get_outputs()
    return lambda images: session.run([result.name], {source.name: images})[0]


def check_installed(*packages):
    """Raise UserError if one of the packages that ONNX needs is not installed."""
    for name in packages:
        if not importlib.util.find_spec(name):
            raise UserError(f"ONNX needs {name}: {INSTALL}")


def _onnxruntime():
    check_installed("onnxruntime")
    import onnxruntime

    return onnxruntime


RUNNERS = {"paddle": paddle_inference, "onnx": onnx_runtime}
NAMES = {"paddle": "Paddle Inference", "onnx": "onnxruntime"}  # of what runs a format, for people


def _in_short(error):
    return str(error).strip().partition("\n")[0]
