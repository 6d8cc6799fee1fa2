"""The name of every file and folder of a run, in one place."""

# Written at the start.
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
LOCK = ".lock"
REPLACED = "replaced"  # where --overwrite moves the run that was there

# Records.
LOG = "train.log"
HISTORY = "history.csv"
DASHBOARD = "vdl"
CURVES = {"loss": "loss.png", "top1": "accuracy.png"}  # by the column of the history

# Weights, and what a run resumes from.
BEST, FINAL = "best", "final"
CHECKPOINTS = "checkpoints"
WEIGHTS, OPTIMIZER, REST, MANIFEST = (f"latest.{kind}" for kind in ("pdparams", "pdopt", "pdstates", "json"))
STATES = (WEIGHTS, OPTIMIZER, REST)
CHECKPOINT = (*STATES, MANIFEST)

# What is made of saved weights, beside them.
EVALUATION = "eval.json"
REPORT = "report.html"
FIGURES = {
    name: f"{name}.png" for name in ("predictions", "class_quality", "confusion_matrix", "reliability", "mistakes")
}
ATTENTION = "attention"
PREDICTIONS, PREDICTIONS_GRID = "predictions.json", "predictions.png"  # of pictures of one's own
EXPORTS = {"paddle": "paddle", "onnx": "onnx"}  # folders, by format

# Inside an export.
DESCRIPTION = "preprocessing.json"
PROGRAM = "inference"  # the stem, as in PaddleClas
PADDLE_PROGRAMS = (f"{PROGRAM}.json", f"{PROGRAM}.pdmodel")  # of Paddle 3.x; of 2.6, which 3.x runs too
EXPORTED_WEIGHTS = {"paddle": f"{PROGRAM}.pdiparams", "onnx": f"{PROGRAM}.onnx"}  # by format


def model(name: str) -> str:
    """Return the file of the `BEST` or `FINAL` weights."""
    return f"{name}_model.pdparams"


def optimizer(name: str) -> str:
    """Return the file of the optimizer's state that belongs to these weights."""
    return f"{name}_optimizer.pdopt"


MODELS = tuple(file(name) for name in (BEST, FINAL) for file in (model, optimizer))
OF_WEIGHTS = (EVALUATION, REPORT, ATTENTION, *EXPORTS.values(), *FIGURES.values())
RECORDS = (LOG, HISTORY, DASHBOARD, *CURVES.values())
# In the order in which --overwrite moves them: checkpoints first, so that nobody resumes half a run; the config last,
# because it tells that the other files are a run's.
RUN = (CHECKPOINTS, *CHECKPOINT, *MODELS, *OF_WEIGHTS, *RECORDS, ENVIRONMENT, CONFIG)
