"""Checks for tests of what makes them: they are sent to another process, which has to find them here."""

import os
import time
from dataclasses import dataclass

from engine.check.check import Check, Result


@dataclass(frozen=True)
class Made(Check):
    """A check that does what its name says."""

    def run(self, context):
        return {"passes": passes, "raises": raises, "crashes": crashes, "hangs": hangs}[self.name.partition("-")[0]]()


def passes():
    print("what a library prints")
    return Result(1.0, "1.0", f"process {os.getpid()}")


def raises():
    raise ValueError("two\nlines")


def crashes():
    os._exit(3)


def hangs():
    time.sleep(1000)


def made(*names):
    return [Made(name, "none", f"the check {name}", bound=1.0) for name in names]
