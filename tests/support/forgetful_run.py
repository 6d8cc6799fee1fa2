"""`engine/check/short_run.py` whose resumed run starts with a new optimizer, as if its state had been lost."""

from engine.check import short_run
from engine.weights import pdparams

pdparams.load_optimizer = lambda *_: None
short_run.main()
