"""The names of all files and folders of a run."""

# Written when a run starts.
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
LOCK = ".lock"
REPLACED = "replaced"  # where --overwrite moves the previous run

# Records.
LOG = "train.log"
HISTORY = "history.csv"
DASHBOARD = "vdl"
CURVES = {"loss": "loss.png", "top1": "accuracy.png"}  # by column of the history

# Weights and checkpoints.
BEST, FINAL = "best", "final"
CHECKPOINTS = "checkpoints"
WEIGHTS, OPTIMIZER, REST, MANIFEST = (f"latest.{kind}" for kind in ("pdparams", "pdopt", "pdstates", "json"))
STATES = (WEIGHTS, OPTIMIZER, REST)
CHECKPOINT = (*STATES, MANIFEST)

# Results made from saved weights, stored beside them.
EVALUATION = "eval.json"
OUTPUTS = "outputs.npz"  # logits and labels of each picture of that evaluation
REPORT = "report.html"
FIGURES = {
    name: f"{name}.png" for name in ("predictions", "class_quality", "confusion_matrix", "reliability", "mistakes")
}
ROBUSTNESS, ROBUSTNESS_MAP = "robustness.json", "robustness.png"
ATTENTION = "attention"
PREDICTIONS, PREDICTIONS_GRID = "predictions.json", "predictions.png"  # for the user's own pictures
EXPORTS = {  # folders, with formats
    **{"paddle": "paddle", "onnx": "onnx", "onnx_int8": "onnx", "onnx_float16": "onnx"},
    **{"web": "web", "web_int8": "web", "web_float16": "web"},
    **{"paddle_features": "paddle", "onnx_features": "onnx"},
}

# Of tools/repeat.py, in the folder of all its runs.
REPEAT, REPEAT_NUMBERS = "repeat.md", "repeat.json"
SEED = "seed"  # how the names of the runs' folders begin

# The report of tools/gpu_check.py.
GPU_CHECK, GPU_CHECK_NUMBERS = "gpu_check.md", "gpu_check.json"

# Inside an export.
DESCRIPTION = "preprocessing.json"
PROGRAM = "inference"  # the stem, as in PaddleClas
PADDLE_PROGRAMS = (f"{PROGRAM}.json", f"{PROGRAM}.pdmodel")  # Paddle 3.x; Paddle 2.6, which 3.x can run too
EXPORTED_WEIGHTS = {  # by format
    "paddle": f"{PROGRAM}.pdiparams",
    "onnx": f"{PROGRAM}.onnx",
    "web": f"{PROGRAM}.onnx",
}


def model(name: str) -> str:
    """Return the name of the file of weights; `name` is `BEST` or `FINAL`."""
    return f"{name}_model.pdparams"


def optimizer(name: str) -> str:
    """Return the name of the file of the optimizer state that belongs to these weights."""
    return f"{name}_optimizer.pdopt"


def export(format: str, precision: str, features: bool = False) -> str:
    """Return the name of the folder of an export."""
    parts = [format, *([precision] if precision != "float32" else []), *(["features"] if features else [])]
    return "_".join(parts)


def temperature(weights: str) -> str:
    """Return the name of the note of a temperature that was fitted to the file of weights of this name."""
    return f"{weights.removesuffix('.pdparams')}.temperature.json"


MODELS = tuple(file(name) for name in (BEST, FINAL) for file in (model, optimizer))
TEMPERATURES = tuple(temperature(model(name)) for name in (BEST, FINAL))
OF_WEIGHTS = (
    *(EVALUATION, OUTPUTS, REPORT, ROBUSTNESS, ROBUSTNESS_MAP, ATTENTION),
    *TEMPERATURES,
    *EXPORTS,
    *FIGURES.values(),
)
RECORDS = (LOG, HISTORY, DASHBOARD, *CURVES.values())
# In the order in which --overwrite moves them: checkpoints first, so that nobody resumes half a run; the config last,
# because it marks a folder as a run.
RUN = (CHECKPOINTS, *CHECKPOINT, *MODELS, *OF_WEIGHTS, *RECORDS, ENVIRONMENT, CONFIG)
