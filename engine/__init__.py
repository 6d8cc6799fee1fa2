"""Training and evaluation: everything between the two scripts and the model.

Importing this package first puts the CPU settings in place that Paddle reads when it is imported.
"""

from engine.system import tuning

tuning.before_paddle()
