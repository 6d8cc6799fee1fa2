#!/usr/bin/env bash
# VisualDL 2.5.3: of a long chart the server shows some points at random, and often not the newest.
#
# Expected: a chart of more points than the server keeps (1,000) is thinned out, and its last point is the newest: the
# function beside it that thins out pictures always keeps the newest, and the table of hyper-parameters shows the last.
# Seen: of 5,000 scalars 1,000 are kept, at random; the last of them is an older one, and so is the table's value. Of
# 5,000 texts ten are kept, and the newest is among them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import sys

from visualdl import LogReader, LogWriter
from visualdl.server import lib

logdir = sys.argv[1]
with LogWriter(logdir=logdir) as writer:
    writer.add_hparams({"lr": 0.1}, ["wave"])
    for step in range(5000):
        writer.add_scalar("wave", step * 7 % 100, step)
        writer.add_text("note", str(step), step)
reader = LogReader(logdir)
steps = [step for _, step, _ in lib.get_scalar(reader, logdir, "wave")]
notes = [item["step"] for item in lib.get_text_tag_steps(reader, logdir, "note")]
(row,) = lib.get_hparam_list(reader)
print(f"  scalars kept: {len(steps)}, the last of step {steps[-1]} of 4999; texts kept: {len(notes)}, the last of {notes[-1]}")
print(f"  the table of hyper-parameters shows {row['metrics']['wave']}; the last value is {4999 * 7 % 100}")
assert (len(steps), len(notes), notes[-1]) == (1000, 10, 4999)
assert steps[-1] != 4999, "the newest scalar is now kept: this finding is out of date"
assert row["metrics"]["wave"] == steps[-1] * 7 % 100
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check visualdl==2.5.3 setuptools==80.9.0
echo "VisualDL 2.5.3"
"$folder/venv/bin/python" "$folder/show.py" "$folder/log" 2>/dev/null
