import json

import numpy as np
import pytest

from engine import filenames
from engine.errors import UserError
from engine.evaluation import outputs
from engine.evaluation.saved import evaluate_weights
from engine.inference.trained import find
from engine.metrics.quality import Predictions
from engine.system.atomic import sha256sum
from tests.support import archives
from tests.support.drawing import blank_figures
from tests.support.errors import refuses
from tests.support.trained import write_run


@pytest.fixture(scope="module")
def run(nano, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    archive = archives.write(folder / "cifar.tar.gz", archives.members(train=30, test=21))
    return write_run(folder / "run", archive)


def evaluate(run, output, *overrides):
    weights, config, _ = find(run / filenames.model(filenames.FINAL), None, overrides)
    with blank_figures():
        return evaluate_weights(weights, config, output)


def test_the_outputs_give_the_numbers_of_the_evaluation(run, tmp_path):
    measured = evaluate(run, tmp_path)
    logits, labels = outputs.read(tmp_path / filenames.OUTPUTS)
    assert (logits.dtype, labels.dtype) == (np.float32, np.int64)
    again = Predictions(logits, labels, logits)
    assert again.correct.mean() == measured["top1"]
    assert again.cross_entropy() == measured["cross_entropy"]
    assert again.confusion().tolist() == measured["confusion_matrix"]


def test_an_evaluation_notes_what_identifies_its_outputs_and_pictures(run, tmp_path):
    folders = [tmp_path / name for name in ("test", "again", "held out")]
    held_out = ("data.holdout=12", "data.holdout_split=stratified")
    for folder, overrides in zip(folders, ((), (), held_out), strict=True):
        evaluate(run, folder, *overrides)
    first, again, other = (json.loads((folder / filenames.EVALUATION).read_bytes())["provenance"] for folder in folders)
    assert first["outputs_sha256"] == again["outputs_sha256"] == sha256sum(folders[0] / filenames.OUTPUTS)
    assert other["outputs_sha256"] != first["outputs_sha256"]
    assert (other["archive_holdout"], other["archive_holdout_split"]) == (12, "stratified")
    assert "archive_holdout" not in first


GOOD = {"logits": np.zeros((4, 3), np.float32), "labels": np.zeros(4, np.int64)}
DAMAGED = {
    "another type": {**GOOD, "logits": np.zeros((4, 3))},
    "another shape": {**GOOD, "labels": np.zeros((4, 1), np.int64)},
    "another count": {**GOOD, "labels": np.zeros(5, np.int64)},
    "no labels": {"logits": GOOD["logits"]},
    "an object": {**GOOD, "labels": np.array([None] * 4, object)},
}


@pytest.mark.parametrize("arrays", DAMAGED.values(), ids=DAMAGED)
def test_what_an_evaluation_cannot_have_written_is_refused(tmp_path, arrays):
    file = tmp_path / filenames.OUTPUTS
    np.savez(file, **arrays)
    with refuses(UserError, key=filenames.OUTPUTS, place=file):
        outputs.read(file)


@pytest.mark.parametrize("share", [0, 0.5, 0.95])
def test_a_file_cut_short_is_refused(tmp_path, share):
    file = tmp_path / filenames.OUTPUTS
    whole = outputs.as_npz(Predictions(GOOD["logits"], GOOD["labels"], GOOD["logits"]))
    file.write_bytes(whole[: int(share * len(whole))])
    with refuses(UserError, key=filenames.OUTPUTS, place=file):
        outputs.read(file)


def test_a_flipped_bit_is_refused(tmp_path):
    file = tmp_path / filenames.OUTPUTS
    whole = bytearray(outputs.as_npz(Predictions(GOOD["logits"], GOOD["labels"], GOOD["logits"])))
    whole[whole.index(b"\n") + 3] ^= 1  # in the data of the first array
    file.write_bytes(whole)
    with refuses(UserError, key=filenames.OUTPUTS, place=file):
        outputs.read(file)


def test_without_the_file_that_is_told_apart_from_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        outputs.read(tmp_path / filenames.OUTPUTS)
