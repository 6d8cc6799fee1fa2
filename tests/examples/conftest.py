"""What the tests of all examples share: see tests/support/examples.py."""

import pytest

from tests.support.examples import Run, write_pictures


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("shown") / "pictures")
