"""tools/explore.py with a smaller Micro, in a process of its own."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
sys.path.insert(0, str(Path(__file__).parents[2]))

from models import VARIANTS
from tests.support.runs import NANO, ROOT

VARIANTS["regionvit_micro_conv_32"] = NANO
runpy.run_path(str(ROOT / "tools" / "explore.py"), run_name="__main__")
