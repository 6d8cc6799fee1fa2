"""examples/node: its steps level by level as OpenCV's, its probabilities as those of tools/predict.py."""

import json
import shutil
import subprocess

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from data.fast import UP
from tests.support.errors import one_line_about
from tests.support.examples import AS_TRAINED, CLOSE, EXAMPLES, IN_8_BITS, IN_FLOAT32
from tests.support.node import NO_NODE, NO_NPM, NODE, NPM, node

pytestmark = pytest.mark.skipif(not NODE, reason=NO_NODE)
NOT_READ = {"plain.bmp", "cmyk.jpg"}  # by sharp; CMYK it would convert by a profile
CLOSE_IN_INT8 = 0.02  # see tests/examples/test_browser.py
RESIZE = """
import { readFileSync, writeFileSync } from "node:fs";
const [steps, folder] = process.argv.slice(2);
const { resize } = await import(steps);
for (const { from, to, file, ...how } of JSON.parse(readFileSync(`${folder}/cases.json`))) {
  const picture = { width: from, height: from, data: new Uint8Array(readFileSync(`${folder}/${from}`)) };
  writeFileSync(file, resize(picture, { size: [to, to], ...how }).data);
}
"""
FROM = (1, 2, 3, 7, 20, 31, 32, 33, 45, 64, 90, 96, 100, 128, 300, 448)
TO = (8, 28, 32, 48, 64, 224)
KINDS = {
    "area": {"shrink": "area", "enlarge": "linear", "computed_in": "uint8"},
    "linear": {"shrink": "linear", "enlarge": "linear", "computed_in": "uint8"},
    "in float32": {"shrink": "linear", "enlarge": "linear", "computed_in": "float32", "floor_after_adding": UP},
}


def resized(picture, to, kind):
    """What a resize is in this project's pipelines: uint8 [H, W, 3] -> uint8 [to, to, 3]."""
    if kind != "in float32":
        return cv2.resize(picture, (to, to), interpolation={"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}[kind])
    x = paddle.to_tensor(picture.transpose(2, 0, 1)[None].astype(np.float32))
    x = paddle.floor(F.interpolate(x, [to, to], mode="bilinear", align_corners=False) + UP)
    return x.numpy()[0].transpose(1, 2, 0).astype(np.uint8)


@pytest.fixture(scope="module")
def by_steps(tmp_path_factory):
    """Noise of all sizes, and what steps.mjs makes of it: {size: picture}, {(kind, from, to): resized}."""
    folder = tmp_path_factory.mktemp("resized")
    rng = np.random.default_rng(0)
    pictures = {side: rng.integers(0, 256, (side, side, 3), np.uint8) for side in FROM}
    for side, picture in pictures.items():
        (folder / str(side)).write_bytes(picture.tobytes())
    cases = [(kind, a, b) for kind in KINDS for a in FROM for b in TO if kind != "area" or a > b]
    files = {case: folder / "-".join(map(str, case)) for case in cases}
    listed = [{"from": a, "to": b, "file": str(file), **KINDS[kind]} for (kind, a, b), file in files.items()]
    (folder / "cases.json").write_text(json.dumps(listed), encoding="utf-8")
    (folder / "resize.mjs").write_text(RESIZE, encoding="utf-8")
    done = node(folder / "resize.mjs", EXAMPLES / "node" / "steps.mjs", folder)
    assert (done.returncode, done.stderr) == (0, "")
    made = {case: np.fromfile(file, np.uint8).reshape(case[2], case[2], 3) for case, file in files.items()}
    return pictures, made


@pytest.mark.parametrize("kind", KINDS)
def test_a_resize_gives_the_levels_of_the_pipelines(by_steps, kind):
    """All of them; but unless it is 32 that is resized, float32 is too coarse for a few at the limit of rounding."""
    pictures, made = by_steps
    cases = [case for case in made if case[0] == kind]
    assert len(cases) > 40
    for case in cases:
        difference = np.abs(made[case].astype(int) - resized(pictures[case[1]], case[2], kind))
        exact = kind != "in float32" or case[1] == 32
        assert difference.max() <= (not exact), case
        assert (difference > 0).mean() < 0.001, case


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A copy of the example with its packages, as its users install them."""
    if not NPM:
        pytest.skip(NO_NPM)
    left_out = shutil.ignore_patterns("node_modules", "package-lock.json")
    folder = shutil.copytree(EXAMPLES / "node", tmp_path_factory.mktemp("example") / "node", ignore=left_out)
    command = [NPM, "install", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr
    return folder


def answers(printed):
    """What predict.mjs prints of several pictures, without their names: [[(class, probability)]]."""
    found = []
    for line in printed.splitlines():
        probability, _, name = line.partition("  ")
        if name:
            found[-1].append((name, float(probability)))
        else:
            found.append([])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "overrides"),
    [("float32", AS_TRAINED), ("float32", IN_FLOAT32), ("float32", IN_8_BITS), ("int8", AS_TRAINED)],
)
def test_node_says_what_predict_says(example, run, pictures, precision, overrides):
    folder = run.export("onnx", precision, overrides)
    chosen = [path for name, path in pictures.items() if name not in NOT_READ]
    done = node(example / "predict.mjs", folder, *chosen)
    assert (done.returncode, done.stderr) == (0, "")
    close = CLOSE if precision == "float32" else CLOSE_IN_INT8
    for said, expected, path in zip(answers(done.stdout), run.predicted(folder, *chosen), chosen, strict=True):
        assert len(said) == 5
        assert dict(said) == pytest.approx({name: expected[name] for name, _ in said}, abs=close), path.name
        assert said[0][1] == pytest.approx(max(expected.values()), abs=close)


@pytest.mark.slow
@pytest.mark.parametrize("picture", [*sorted(NOT_READ), "none.png", "words.txt"])
def test_node_refuses_a_picture_that_it_would_read_otherwise_or_not_at_all(example, run, pictures, tmp_path, picture):
    (tmp_path / "words.txt").write_text("words", encoding="utf-8")
    path = pictures.get(picture, tmp_path / picture)
    done = node(example / "predict.mjs", run.export(), path)
    assert (done.returncode, done.stdout) == (2, "")
    one_line_about(done.stderr, path)


@pytest.mark.slow
def test_node_refuses_what_is_no_export_for_it(example, run, pictures, tmp_path):
    changed = shutil.copytree(run.export(), tmp_path / "changed")
    description = json.loads((changed / "preprocessing.json").read_text(encoding="utf-8"))
    description["steps"][2]["shrink"] = "cubic"
    (changed / "preprocessing.json").write_text(json.dumps(description), encoding="utf-8")
    for folder, named in ((tmp_path, "preprocessing.json"), (run.export("paddle"), "ONNX"), (changed, "cubic")):
        done = node(example / "predict.mjs", folder, pictures["photo.jpg"])
        assert (done.returncode, done.stdout) == (2, "")
        one_line_about(done.stderr, named)
