"""Following the steps that an export lists by the code of examples/python, which knows nothing of this project."""

import runpy

from engine.inference import program
from tests.support.runs import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples" / "python" / "steps.py"))["follow"]


def follow(steps, file, run):
    """Follow an export's steps: a picture's file -> probabilities [classes], or a list of feature maps [C, H, W].

    `run` takes a batch and the names of the program's input and of its outputs, and returns a list of these.
    """
    *before, last = steps
    if last["op"] == "run":
        return [each[0] for each in run(EXAMPLE(before, file, None), last["input"], last["outputs"])]
    return EXAMPLE(steps, file, lambda x, source, result: run(x, source, [result])[0])[0]


def in_paddle_inference(folder):
    """Return what `follow` needs to run the program of an export in a folder."""
    predictor = program.predictor(folder, "cpu")

    def run(images, source, results):
        predictor.get_input_handle(source).copy_from_cpu(images)
        predictor.run()
        return [predictor.get_output_handle(result).copy_to_cpu() for result in results]

    return run
