"""train.py with a smaller Micro and blank figures, for runs that are no less true for it but need their own process."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import train
from engine import cli
from models import VARIANTS
from tests.support.drawing import blank_figures
from tests.support.runs import NANO

VARIANTS["regionvit_micro_conv_32"] = NANO
with blank_figures():
    cli.run(train.main, several=True)
