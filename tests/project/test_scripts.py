"""A spawned worker runs the script of its run again, under another name: that must do nothing, and cost little."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "train.py", ROOT / "eval.py", *sorted(ROOT.glob("tools/*.py"))]
AGAIN = """
import runpy, sys
sys.path.insert(0, "tools")
for script in sys.argv[1:]:
    runpy.run_path(script, run_name="__mp_main__")
    slow = {"paddle", "cv2", "matplotlib"} & sys.modules.keys()
    assert not slow, f"{script} imports {slow}"
"""


def test_a_script_that_a_worker_runs_again_imports_no_paddle_and_says_nothing():
    command = [sys.executable, "-c", AGAIN, *map(str, SCRIPTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(SCRIPTS) > 10
