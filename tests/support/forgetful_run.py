"""`engine/check/short_run.py` whose resumed run starts with a new optimizer, as if its state had been lost."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.check import short_run
from engine.weights import pdparams

pdparams.load_optimizer = lambda *_: None
short_run.main()
