"""Where the kernels in C have to be there."""

import os
import platform
import shutil
import sys

import pytest

from models import native


def need_kernels():
    """Skip where the kernels in C cannot be built; fail where they can be, and were not."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or not (os.environ.get("CC") or shutil.which("cc")):
        pytest.skip("needs a C compiler on Linux and x86-64")
    if os.environ.get("REGIONVIT_KERNELS") == "paddle":
        pytest.skip("REGIONVIT_KERNELS=paddle")
    assert native.available(), native.kernels().note
