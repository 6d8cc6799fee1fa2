"""The device that the tests run on, from one environment variable; a CPU by default.

On a GPU the golden numbers may differ as far as the check `parity` lets them.
"""

import os
import re

from engine.check.table import CHECKS
from engine.errors import UserError
from engine.system import device

VARIABLE = "REGIONVIT_TEST_DEVICE"
WANTED = os.environ.get(VARIABLE, "cpu")
DEVICE = {"gpu": "gpu:0"}.get(WANTED, WANTED)  # as `select_device` returns it
ON_A_CPU = DEVICE == "cpu"
GOLDEN = 1e-5 if ON_A_CPU else next(check.bound for check in CHECKS if check.name == "parity")


def refuse_unusable(name):
    """Raise UserError if tests cannot run on a device."""
    if not re.fullmatch(r"cpu|gpu:[0-9]{1,3}", name):
        raise UserError(f"{VARIABLE}: {WANTED}: expected cpu, gpu or gpu:N", key=VARIABLE, value=WANTED)
    if name != "cpu":
        device.select_device(name)
        device.make_deterministic()  # many tests compare bits
