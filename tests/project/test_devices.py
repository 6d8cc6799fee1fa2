"""Tests run on one device, chosen by one variable."""

import re

import pytest

from engine.errors import UserError
from tests.support import device
from tests.support.errors import refuses
from tests.support.runs import ROOT, SMALL

NAMES_A_CPU = re.compile(r"""device=cpu\b(?!"\])|(?:select|set)_device\(["']cpu|["']--device["'], ["']cpu""")
# About the choice of a device, and about gloo alone.
FREE = {"tests/project/test_devices.py", "tests/engine/system/test_nvidia.py", "tests/engine/system/test_processes.py"}


def test_no_test_chooses_a_cpu_by_itself():
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        if str(file.relative_to(ROOT)) not in FREE and "tests/engine/check" not in str(file)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if NAMES_A_CPU.search(line)
    ]
    assert found == [], "use DEVICE of tests/support/device.py, or mark the test `cpu`"


def test_runs_in_other_processes_get_the_device():
    assert f"device={device.DEVICE}" in SMALL


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there_ends_the_tests_with_one_line():
    with refuses(UserError, key="device", value="gpu:0"):
        device.refuse_unusable("gpu:0")


@pytest.mark.parametrize("name", ["tpu", "gpu:", "GPU", "", "cpu:0"])
def test_a_device_that_does_not_exist_ends_the_tests_with_one_line(name):
    with refuses(UserError, key="REGIONVIT_TEST_DEVICE"):
        device.refuse_unusable(name)
