"""A small trained run and its exports, pictures, and what tools/predict.py says of them: for tests of `examples/`."""

import contextlib
import functools
import io
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.inference import cost, program
from engine.system import atomic
from engine.weights.temperature import write_note
from models import VARIANTS
from tests.support import archives, odd_pictures
from tests.support.drawing import blank_figures
from tests.support.runs import NANO, ROOT, train
from tests.support.scripts import tool

EXAMPLES = ROOT / "examples"
CLOSE = 1e-4  # how far an example's probabilities may be from those of tools/predict.py
# What of a run's config decides how a picture is prepared: no second resize, one of float32 levels, one of 8 bits.
AS_TRAINED, IN_FLOAT32, IN_8_BITS = (), ("data.image_size=48",), ("data.image_size=48", "data.pipeline=host")
TEMPERATURE = 0.1  # sharpens what is learned in two epochs, so that each step's mistakes show


def python():
    """Return the Python of an environment of requirements/examples.txt; skip the test if none is named."""
    if not (path := os.environ.get("REGIONVIT_EXAMPLES_PYTHON")):
        pytest.skip("REGIONVIT_EXAMPLES_PYTHON names no environment of requirements/examples.txt: make test-examples")
    return str(ROOT / path)


class Run:
    """A small trained run with a temperature in a folder; exports are made when first asked for."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.weights = folder / "run" / "best_model.pdparams"
        archive = archives.of("cifar10", folder, train=400, test=100)
        with self._in_its_world() as patch, blank_figures():
            train(patch, archive, folder / "run", "train.log_interval=25")
        write_note(self.weights, TEMPERATURE, atomic.sha256sum(self.weights), 100, "test set")

    @functools.cache  # noqa: B019
    def export(self, format="onnx", precision="float32", overrides=AS_TRAINED):
        """Return the folder of an export."""
        if format != "paddle":
            for package in (*program.FOR_ONNX, *program.FOR_INT8 * (precision == "int8")):
                pytest.importorskip(package, reason="ONNX needs requirements/export.txt")
        folder = self.folder / "-".join([format, precision, *overrides])
        with self._in_its_world() as patch, _quiet():
            options = [part for override in overrides for part in ("-o", override)]
            options += ["--format", format, "--precision", precision, "--output", folder]
            options += ["--most-lost", "100"] * (precision != "float32")
            tool(patch, "export.py", "--weights", self.weights, *options)
        return folder

    def predicted(self, folder, *pictures):
        """Return what tools/predict.py says of each picture with an export: [{class: probability}].

        In int8 each picture is a batch of its own, because there a batch's pictures change each other's logits.
        """
        if "int8" in folder.name:
            return [answer for picture in pictures for answer in self._predicted(folder, picture)]
        return self._predicted(folder, *pictures)

    @functools.cache  # noqa: B019
    def _predicted(self, folder, *pictures):
        with self._in_its_world() as patch, _quiet() as said:
            tool(patch, "predict.py", "--weights", folder, "--json", "--top", "10", *pictures)
        answers = json.loads(said.getvalue())["predictions"]
        return [{guess["class"]: guess["probability"] for guess in answer["top"]} for answer in answers]

    @contextlib.contextmanager
    def _in_its_world(self):
        """A smaller model in the place of Micro, and speed that is hardly measured."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(VARIANTS, "regionvit_micro_conv_32", NANO)
            patch.setattr(cost, "SECONDS", 0.01)
            patch.setattr(cost, "PAUSE", 0)
            yield patch


@contextlib.contextmanager
def _quiet():
    """Keep what is printed away from a test's output; yields what stdout is given."""
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
        yield said


def write_pictures(folder):
    """Write pictures of all sizes, shapes and formats whose readers may go wrong; return their paths by name."""
    folder.mkdir()
    odd_pictures.write(folder, _picture(40, 60, seed=0))
    for name, (height, width) in {"large.png": (150, 100), "small.png": (20, 14), "as it is.png": (32, 32)}.items():
        Image.fromarray(_picture(height, width, seed=height)).save(folder / name)
    Image.fromarray(_picture(100, 160, seed=1)).save(folder / "photo.jpg", quality=90)
    Image.fromarray(_picture(50, 40, seed=2)).convert("L").save(folder / "gray.jpg")
    return {path.name: path for path in sorted(folder.iterdir())}


def _picture(height, width, seed):
    """Return a picture of smooth colors with fine grain, so that each step on the way shows: uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.normal(120, 70, (5, 5, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    return (smooth + rng.normal(0, 25, (height, width, 3))).clip(0, 255).astype(np.uint8)


def start(command, *arguments):
    """Start an example in a folder of its own, where this project cannot be seen; return the finished process."""
    unseen = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as elsewhere:
        return subprocess.run(
            [*command, *map(str, arguments)],
            cwd=elsewhere,
            env={**unseen, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )


def answers(done):
    """Return what an example printed of each picture: {picture: {class: probability}}, both in their order."""
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("  "):
            probability, name = line.split(maxsplit=1)
            next(reversed(found.values()))[name] = float(probability)
        else:
            found[line] = {}
    return found


def changed(export, folder, change):
    """Return a copy of an export in a folder; `change` is given its description."""
    shutil.copytree(export, folder)
    file = folder / "preprocessing.json"
    description = json.loads(file.read_text(encoding="utf-8"))
    change(description)
    file.write_text(json.dumps(description), encoding="utf-8")
    return folder


def agree(done, pictures, predicted, within=CLOSE):
    """An example names the likeliest five classes of each picture, with the probabilities that were predicted."""
    found = answers(done)
    assert list(found) == [str(picture) for picture in pictures]
    for (picture, guesses), expected in zip(found.items(), predicted, strict=True):
        assert len(guesses) == 5
        assert list(guesses.values()) == sorted(guesses.values(), reverse=True)
        difference = max(abs(expected[name] - probability) for name, probability in guesses.items())
        assert difference <= within, (picture, difference, guesses, expected)
        assert max(expected.values()) - expected[next(iter(guesses))] <= within


def refused(done, *named):
    """An example ended with status 2 and one line, which names these."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    for name in named:
        assert str(name) in done.stderr
