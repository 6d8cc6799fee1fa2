"""Training, evaluation and inference: everything between the scripts and the model.

Importing this package applies the CPU settings that Paddle reads on import, so import it before Paddle.
"""

import common  # noqa: F401  (before Paddle)

# isort: split
from engine.system import tuning

tuning.before_paddle()
tuning.silence_fonts()
