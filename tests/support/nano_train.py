"""train.py with a smaller Micro and blank figures, for runs that are no less true for it but need their own process."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import train
from engine import cli
from models import VARIANTS
from tests.support.runs import NANO, without_figures

VARIANTS["regionvit_micro_32"] = NANO
with without_figures():
    cli.run(train.main)
