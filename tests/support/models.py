"""Models without their random initial values, which take seconds for large ones."""

import contextlib

import paddle
import pytest


@contextlib.contextmanager
def without_random_values():
    """A context in which new weights are 0, for models that get other weights or of which only shapes matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paddle.nn.initializer, "TruncatedNormal", lambda **_: paddle.nn.initializer.Constant(0.0))
        yield
