import json

import pytest

from engine import filenames
from engine.system.atomic import sha256sum
from engine.weights.temperature import noted_temperature, write_note


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "best_model.pdparams"
    file.write_bytes(b"weights")
    return file


def noted(weights):
    return noted_temperature(weights, sha256sum(weights))


def test_a_temperature_is_found_beside_its_weights(weights):
    file = write_note(weights, 0.7125, sha256sum(weights), 144, "held-out training pictures", ece=0.1)
    assert file == weights.with_name("best_model.temperature.json")
    temperature = noted(weights)
    assert temperature.value == 0.7125
    assert all(part in temperature.about for part in ("0.7125", "144", "held-out training pictures", str(file)))
    assert json.loads(file.read_text(encoding="utf-8"))["ece"] == 0.1


def test_without_a_note_it_is_one_and_nothing_is_said(weights):
    temperature = noted(weights)
    assert (temperature.value, temperature.about) == (1, "")


def test_a_note_of_other_weights_is_ignored_and_said_so_in_one_line(weights):
    """As after a run was resumed, which replaced its best weights."""
    file = write_note(weights, 0.5, sha256sum(weights), 144, "held-out training pictures")
    weights.write_bytes(b"better weights")
    temperature = noted(weights)
    assert temperature.value == 1
    assert str(file) in temperature.about
    assert f"--weights {weights} --calibrate" in temperature.about
    assert "\n" not in temperature.about


WRONG = [f'{{"temperature": {x}, "images": 3, "split": "a"}}' for x in ("0", "-1", "true", '"1"', "null", "NaN")]


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, "{}", *WRONG])
def test_a_damaged_note_is_ignored_and_said_so_in_one_line(weights, content):
    file = weights.with_name("best_model.temperature.json")
    if content.startswith('{"'):
        content = content[:-1] + f', "weights_sha256": "{sha256sum(weights)}"}}'
    file.write_text(content, encoding="utf-8")
    temperature = noted(weights)
    assert temperature.value == 1
    assert str(file) in temperature.about
    assert "\n" not in temperature.about


def test_the_notes_of_a_runs_weights_are_moved_aside_with_them(weights):
    names = [filenames.temperature(filenames.model(name)) for name in (filenames.BEST, filenames.FINAL)]
    assert set(names) <= set(filenames.RUN)
    assert names == ["best_model.temperature.json", "final_model.temperature.json"]
