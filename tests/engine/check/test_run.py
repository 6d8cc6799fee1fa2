"""Making checks one after the other, whatever one does to its process, and the report."""

import contextlib
import importlib.util
import json
from pathlib import Path

import pytest

from engine import filenames
from engine.check import report, run, table
from engine.check.check import Check, Result, worst_of
from engine.check.worker import FAILED, PASSED, SKIPPED, outcome, row
from engine.errors import UserError
from tests.support.checks import made
from tests.support.errors import one_line_about, refuses
from tests.support.scripts import tool

TEMPLATE = Path(__file__).parents[3] / ".github" / "ISSUE_TEMPLATE" / "gpu_check.yml"
ENVIRONMENT = {
    "paddle": "3.3.1",
    "numpy": "2.0",
    "python": "3.11",
    "device": "cpu (two threads)",
    "git_commit": None,
    "git_uncommitted_changes": None,
}
KNOWN = {"device": "cpu", "gpus": 0, "environment": ENVIRONMENT}


@pytest.mark.slow
def test_the_others_are_made_whatever_a_check_does_to_its_process():
    names = ("passes-1", "passes-2", "raises", "passes-3", "crashes", "hangs")
    lines = []
    found = run.run(made(*names), "cpu", say=lines.append, patience=30)
    rows = {row["check"]: row for row in found["checks"]}
    assert [row["result"] for row in found["checks"]] == [PASSED, PASSED, FAILED, PASSED, FAILED, FAILED]
    assert len(lines) == len(names)
    assert "ValueError: two lines" in rows["raises"]["note"]
    assert "status 3" in rows["crashes"]["note"]
    assert "no answer for 30 seconds" in rows["hangs"]["note"]
    processes = [rows[f"passes-{i}"]["note"] for i in (1, 2, 3)]
    assert processes[0] == processes[1] != processes[2]  # after a failure another one


@pytest.mark.slow
def test_every_check_that_a_cpu_can_make_passes_on_one_and_the_others_are_skipped(tmp_path, monkeypatch, capsys):
    tool(monkeypatch, "gpu_check.py", "--device", "cpu", "--output", tmp_path / "new")
    found = json.loads((tmp_path / "new" / filenames.GPU_CHECK_NUMBERS).read_text(encoding="utf-8"))
    results = {row["check"]: row["result"] for row in found["checks"]}
    expected = {check.name: SKIPPED if check.gpus else PASSED for check in table.CHECKS}
    if not importlib.util.find_spec("paddle2onnx"):
        expected["export-onnx"] = SKIPPED
    assert results == expected, capsys.readouterr()
    markdown = (tmp_path / "new" / filenames.GPU_CHECK).read_text(encoding="utf-8")
    assert markdown in capsys.readouterr().out
    assert "NO GPU" in markdown


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_refused_in_one_line(tmp_path, monkeypatch, capsys, no_gpu):
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "gpu_check.py", "--device", "gpu:99", "--output", tmp_path)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "device: gpu:99")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def known(monkeypatch):
    """The outcomes of checks by name, without a process."""
    results = {}

    def make(checks, device, say):
        rows = [{**row(check), **results.get(check.name, {"result": PASSED, "figure": "1 | 2"})} for check in checks]
        for found in rows:
            say(run.line(found))
        return {**KNOWN, "checks": rows}

    monkeypatch.setattr(run, "run", make)
    return results


@pytest.mark.parametrize(("result", "status"), [(PASSED, 0), (SKIPPED, 0), (FAILED, 1)])
def test_the_status_says_whether_a_check_failed(result, status, known, tmp_path, monkeypatch, capsys):
    known["parity"] = {"result": result, "note": "because"}
    try:
        tool(monkeypatch, "gpu_check.py", "--output", tmp_path)
        code = 0
    except SystemExit as exit:
        code = exit.code
    assert code == status
    found = json.loads((tmp_path / filenames.GPU_CHECK_NUMBERS).read_text(encoding="utf-8"))
    assert [row["check"] for row in found["checks"]] == [check.name for check in table.CHECKS]
    lines = (tmp_path / filenames.GPU_CHECK).read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    assert len(rows) == len(table.CHECKS)
    assert {line.replace("\\|", "").count("|") for line in rows} == {7}  # a bar in a cell is no border
    assert f"| parity | {result} |" in capsys.readouterr().out


def test_only_some_checks_are_made_in_the_order_of_the_table_and_the_report_says_so(known, tmp_path, monkeypatch):
    tool(monkeypatch, "gpu_check.py", "--only", "recompute, parity", "--output", tmp_path)
    found = json.loads((tmp_path / filenames.GPU_CHECK_NUMBERS).read_text(encoding="utf-8"))
    assert [row["check"] for row in found["checks"]] == found["only"] == ["parity", "recompute"]
    assert "only parity, recompute" in (tmp_path / filenames.GPU_CHECK).read_text(encoding="utf-8")


def test_a_check_that_does_not_exist_is_refused_with_the_valid_names(known, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "gpu_check.py", "--only", "parity,speeed")
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "--only", "speeed", *(check.name for check in table.CHECKS))


def test_a_folder_that_cannot_be_written_is_refused_before_any_check(known, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "gpu_check.py", "--output", tmp_path / "file")
    assert exit.value.code == 2
    captured = capsys.readouterr()
    one_line_about(captured.err, "--output")
    assert captured.out == ""


def test_the_list_names_every_check_and_makes_none(monkeypatch, capsys):
    monkeypatch.setattr(run, "run", None)
    tool(monkeypatch, "gpu_check.py", "--list")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [check.name for check in table.CHECKS]
    assert all(check.claim in line for check, line in zip(table.CHECKS, lines, strict=True))


def test_names_of_checks_are_unique():
    names = [check.name for check in table.CHECKS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("device", "gpus", "needs", "skipped"),
    [("cpu", 0, 0, False), ("cpu", 2, 1, True), ("gpu:0", 1, 1, False), ("gpu:0", 1, 2, True), ("gpu:0", 2, 2, False)],
)
def test_a_check_is_skipped_where_gpus_are_lacking(device, gpus, needs, skipped, monkeypatch):
    monkeypatch.setattr(Check, "run", lambda self, context: Result(0, "done"))
    found = outcome(Check("name", "module", "claim", bound=0, gpus=needs), device, gpus)
    assert found["result"] == (SKIPPED if skipped else PASSED)
    assert not skipped or "GPU" in found["note"]


@pytest.mark.parametrize(
    ("bound", "worst", "result"),
    [(1.0, 1.0, PASSED), (1.0, 1.1, FAILED), (1.0, float("nan"), FAILED), (1.0, None, FAILED), (None, None, PASSED)],
)
def test_a_figure_beyond_the_bound_fails_and_so_does_none(bound, worst, result, monkeypatch):
    monkeypatch.setattr(Check, "run", lambda self, context: Result(worst, "done"))
    assert outcome(Check("name", "module", "claim", bound), "cpu", 0)["result"] == result


@pytest.mark.parametrize("numbers", [[1.0, float("nan")], [float("nan"), 1.0]])
def test_of_several_numbers_one_that_is_none_is_the_worst(numbers):
    assert worst_of(numbers) == float("inf")


def test_a_device_that_is_lost_after_a_failure_fails_the_other_checks(monkeypatch):
    answers = iter([KNOWN, {**row(made("a")[0]), "result": FAILED}, {"error": "no GPU", "fields": {}}, "died"])
    monkeypatch.setattr(run, "_answer", lambda *_: next(answers))
    monkeypatch.setattr(run, "_worker", lambda *_: contextlib.nullcontext((None, None)))
    found = run.run(made("a", "b", "c"), "cpu", say=lambda line: None)
    assert [row["result"] for row in found["checks"]] == [FAILED] * 3
    assert found["checks"][1]["note"] == "no GPU"


@pytest.mark.parametrize("answer", [{"error": "device: gpu, but", "fields": {"key": "device"}}, "ended with status 1"])
def test_a_device_that_cannot_be_used_is_an_error(answer, monkeypatch):
    monkeypatch.setattr(run, "_answer", lambda *_: answer)
    monkeypatch.setattr(run, "_worker", lambda *_: contextlib.nullcontext((None, None)))
    with refuses(UserError, key="device"):
        run.run(made("a"), "gpu", say=lambda line: None)


def test_the_issue_template_asks_for_both_files():
    text = TEMPLATE.read_text(encoding="utf-8")
    assert filenames.GPU_CHECK in text
    assert filenames.GPU_CHECK_NUMBERS in text


def test_a_report_says_on_what_it_was_made():
    known = {**KNOWN, "date": "2026-01-01", "seconds": 3.0, "checks": []}
    text = report.markdown({**known, "device": "gpu:0", "environment": {**ENVIRONMENT, "device": "gpu:0 (A10)"}})
    assert "gpu:0 (A10)" in text
    assert "NO GPU" not in text
