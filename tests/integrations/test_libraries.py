"""A library that is not installed, and what stops its training."""

import pytest

from integrations.libraries import need, reading
from tests.support.errors import refuses


def test_a_missing_library_is_named_in_one_line():
    need("numpy")
    with refuses(key="no_such_library") as caught:
        need("no_such_library")
    assert "requirements/integrations.txt" in str(caught.value)


def test_an_interrupted_backward_pass_is_no_error_of_a_library():
    with pytest.raises(KeyboardInterrupt), reading(list):
        raise OSError("(External) KeyboardInterrupt: <EMPTY MESSAGE>")
