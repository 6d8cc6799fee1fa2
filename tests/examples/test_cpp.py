import os
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.examples import AS_TRAINED, EXAMPLES, IN_FLOAT32, agree, changed, refused, start

# What Debian's OpenCV 4.6 reads otherwise than Pillow, or not at all; see docs/en/examples.md.
READ_OTHERWISE = {"cmyk.jpg", "frames.gif"}


@pytest.fixture(scope="module")
def classify(tmp_path_factory):
    """The built program; skipped without what it needs, but not in CI."""
    if not (root := os.environ.get("REGIONVIT_ONNXRUNTIME_ROOT")):
        pytest.skip(
            "REGIONVIT_ONNXRUNTIME_ROOT names no folder of onnxruntime's headers and library: make test-examples"
        )
    if not shutil.which("cmake"):
        pytest.skip("no cmake: apt-get install cmake g++ libopencv-imgcodecs-dev nlohmann-json3-dev")
    folder = tmp_path_factory.mktemp("built")
    configure = ["cmake", "-S", EXAMPLES / "cpp", "-B", folder, f"-DONNXRUNTIME_ROOT={EXAMPLES.parent / root}"]
    done = subprocess.run(configure, capture_output=True, encoding="utf-8")
    if done.returncode:
        (pytest.fail if "CI" in os.environ else pytest.skip)(done.stderr)
    subprocess.run(["cmake", "--build", folder, "--parallel", "2"], check=True)
    return [folder / "classify"]


@pytest.fixture(scope="module")
def readable(pictures):
    return [path for name, path in pictures.items() if name not in READ_OTHERWISE]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [AS_TRAINED, IN_FLOAT32])
def test_probabilities_are_those_of_predict(classify, run, readable, overrides):
    export = run.export("onnx", "float32", overrides)
    agree(start(classify, export, *readable), readable, run.predicted(export, *readable))


@pytest.mark.slow
def test_so_are_those_in_int8(classify, run, readable):
    export = run.export("onnx", "int8")
    agree(start(classify, export, *readable), readable, run.predicted(export, *readable))


@pytest.mark.slow
def test_so_are_those_of_gray_and_of_16_bits_with_transparency(classify, run, tmp_path):
    levels = np.random.default_rng(0).integers(0, 65536, (40, 60, 4), np.uint16)
    cv2.imwrite(str(tmp_path / "16 bits.png"), levels)
    Image.fromarray((levels[..., ::3] >> 8).astype(np.uint8), "LA").save(tmp_path / "gray.png")
    odd = sorted(tmp_path.iterdir())
    agree(start(classify, run.export(), *odd), odd, run.predicted(run.export(), *odd))


@pytest.mark.slow
def test_what_cannot_be_used_is_one_line(classify, run, pictures, tmp_path):
    export, picture = run.export(), pictures["photo.jpg"]
    for_paddle = changed(export, tmp_path / "paddle", lambda description: description.update(format="paddle"))
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    older = changed(export, tmp_path / "older", lambda description: description.pop("steps"))
    refused(start(classify, older, picture), older, "steps")
    of_maps = changed(export, tmp_path / "maps", lambda description: description.update(task="features"))
    refused(start(classify, of_maps, picture), of_maps, "--features")
    refused(start(classify, tmp_path, picture), tmp_path, "preprocessing.json")
    refused(start(classify, for_paddle, picture), for_paddle, "onnx")
    refused(start(classify, export, tmp_path / "nothing.png"), "nothing.png")
    refused(start(classify, export, tmp_path / "text.png"), "text.png")
    refused(start(classify, export), "usage")


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", [{"op": "sharpen"}, {"op": "crop", "to": "upper square"}, {"op": "transpose", "axes": [1]}]
)
def test_a_step_that_is_not_known_is_refused(classify, run, pictures, tmp_path, step):
    export = changed(run.export(), tmp_path / "export", lambda description: description["steps"].insert(1, step))
    refused(start(classify, export, pictures["photo.jpg"]), *map(str, step.values()))
