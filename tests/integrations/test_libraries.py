"""A library that is not installed."""

from integrations.libraries import need
from tests.support.errors import refuses


def test_a_missing_library_is_named_in_one_line():
    need("numpy")
    with refuses(key="no_such_library") as caught:
        need("no_such_library")
    assert "requirements/integrations.txt" in str(caught.value)
