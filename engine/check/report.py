"""The report of checks: one table in Markdown, to be pasted, and everything in JSON."""

import json
from pathlib import Path
from typing import Any

from engine import filenames
from engine.check.worker import FAILED, PASSED, SKIPPED
from engine.system import atomic


def markdown(report: dict[str, Any]) -> str:
    """Return the table of checks below the lines that say where they were made."""
    found = report["environment"]
    commit = (found["git_commit"] or "not known")[:12] + (" and changes" if found["git_uncommitted_changes"] else "")
    results = [row["result"] for row in report["checks"]]
    count = ", ".join(f"{results.count(result)} {result}" for result in (PASSED, FAILED, SKIPPED))
    lines = [
        f"### GPU check: {count}",
        "",
        f"- Device: {found['device']}",
        f"- Paddle {found['paddle']}, numpy {found['numpy']}, Python {found['python']}, commit {commit}",
        f"- {report['date']}, {report['seconds']:.0f} s"
        + (f"; only {', '.join(report['only'])}" if report.get("only") else ""),
        *(["- **NO GPU was used: nothing here says anything about one**"] if report["device"] == "cpu" else []),
        "",
        "| check | result | figure | must not exceed | what passes | note |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["checks"]:
        bound = "" if row["bound"] is None else f"{row['bound']:g}"
        texts = (row["check"], row["result"], row["figure"], bound, row["claim"], row["note"])
        lines.append(f"| {' | '.join(_cell(text) for text in texts)} |")
    return "\n".join(lines) + "\n"


def write(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write the report into a folder as Markdown and JSON; return the files."""
    texts = {
        filenames.GPU_CHECK: markdown(report),
        filenames.GPU_CHECK_NUMBERS: json.dumps(report, indent=2, default=str) + "\n",
    }
    for name, text in texts.items():
        atomic.replace_text(folder / name, text)
    return [folder / name for name in texts]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
