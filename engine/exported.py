"""An export: a model as a program that no code of this project is needed for, and how this project runs one."""

import json

import numpy as np
import paddle

from . import files, runtime
from .errors import UserError

DESCRIPTION = "preprocessing.json"
STEM = "inference"  # of the names of an export's files, as in PaddleClas
ONNX, PARAMETERS = f"{STEM}.onnx", f"{STEM}.pdiparams"
HAS_WEIGHTS = {"paddle": PARAMETERS, "onnx": ONNX}  # the file of each format that has the weights
NEEDED = "pip install -r requirements-export.txt (with Paddle 2.6: requirements-export-2.6.txt)"


def is_export(weights):
    """Tell the weights of an export from a file of weights alone, by how their name ends."""
    return weights.suffix in (".onnx", ".pdiparams")


def weights_in(folder):
    """Return the file in an export's folder that has its weights; UserError if it is no export's."""
    found = [folder / name for name in HAS_WEIGHTS.values() if (folder / name).exists()]
    if not found:
        expected = " or ".join(HAS_WEIGHTS.values())
        raise UserError(f"--weights {folder}: a folder without an export ({expected}): give a file of weights")
    return found[0]


def describe(folder):
    """Return what an export's `preprocessing.json` says of it.

    Raises:
        UserError: it is missing or damaged, or a file of the export is not what it was.
    """
    file = folder / DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        shape, classes = description["input"]["shape"], description["classes"]
        valid = description["format"] in RUNNERS and len(shape) == 4 and all(isinstance(name, str) for name in classes)
        checksums = {folder / name: digest for name, digest in description["files"].items()}
    except FileNotFoundError:
        raise UserError(f"{folder}: no {DESCRIPTION}, so no export: make one by `python tools/export.py`") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file}: not readable as an export's description ({error}): export again") from error
    if not valid:
        raise UserError(f"{file}: not the description of an export: export again")
    for part, digest in checksums.items():
        if not part.is_file() or files.sha256sum(part) != digest:
            raise UserError(f"{part}: {'altered' if part.exists() else 'missing'} since it was exported: export again")
    return description


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

    program = folder / f"{STEM}.{program_suffix()}"
    if not program.is_file():
        raise UserError(
            f"{program}: missing, and Paddle {paddle.__version__} reads no other: export with this Paddle, or as onnx"
        )
    config = inference.Config(str(program), str(folder / PARAMETERS))
    if device == "cpu":
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(runtime.cpu_threads())
        config.disable_mkldnn()  # fusing transposes and reshapes, it crashes on this model: Paddle 2.6.2 and 3.3.1
    else:
        config.enable_use_gpu(256, int(device.partition(":")[2]))  # MB to begin with
    config.disable_glog_info()
    # Last, or it is there again. It crashes on Paddle 2.6 where a parameter is concatenated.
    config.delete_pass("seqpool_cvm_concat_fuse_pass")
    try:
        predictor = inference.create_predictor(config)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{program}: Paddle Inference cannot read it ({_in_short(error)}): export again") from error
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
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{folder / ONNX}: needs onnxruntime: {NEEDED}") from None
    providers = ["CPUExecutionProvider"]
    if device != "cpu":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise UserError(f"device: {device}, but this onnxruntime is for CPUs: use device=cpu, or onnxruntime-gpu")
        providers = [("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2])})]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.cpu_threads()
    try:
        session = onnxruntime.InferenceSession(str(folder / ONNX), options, providers)
    except Exception as error:  # onnxruntime has a class of its own for each kind
        raise UserError(f"{folder / ONNX}: onnxruntime cannot read it ({_in_short(error)}): export again") from error
    (source,), (result,) = session.get_inputs(), session.get_outputs()
    return lambda images: session.run([result.name], {source.name: images})[0]


RUNNERS = {"paddle": paddle_inference, "onnx": onnx_runtime}
NAMES = {"paddle": "Paddle Inference", "onnx": "onnxruntime"}  # of what runs a format, for people


def program_suffix():
    """Return how this Paddle's programs end: its 3.x has another format than 2.6."""
    return "pdmodel" if paddle.__version__.startswith("2.") else "json"


def _in_short(error):
    return str(error).strip().partition("\n")[0]
