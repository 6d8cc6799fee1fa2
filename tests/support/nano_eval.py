"""eval.py with a smaller Micro and blank figures, for evaluations in processes of their own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import eval
from engine import cli
from models import VARIANTS
from tests.support.drawing import blank_figures
from tests.support.runs import NANO

VARIANTS["regionvit_micro_conv_32"] = NANO
with blank_figures():
    cli.run(eval.main, several=True)
