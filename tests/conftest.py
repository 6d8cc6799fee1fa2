"""What all tests share: the CPU settings of the scripts, and a small archive of made-up pictures."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

from engine import runtime  # before paddle is imported anywhere

runtime.select_device("cpu")
