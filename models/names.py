"""Names of parameters, and of models."""

import re

OF_CLASSIFIERS = ("head.", "norm.")  # how the names of parameters begin that feature maps do not need


def first_name(key: str) -> str:
    """Return a parameter's first name: `proj_cls.*` is a second name of `proj.*`."""
    return key.replace(".proj_cls.", ".proj.")


def short_name(model: str) -> str:
    """Return the short name of a variant: `regionvit_tiny_224` -> `tiny`."""
    return re.sub(r"^regionvit_|_\d+$", "", model)
