"""RegionViT and its variants: `build_model("regionvit_tiny_224", num_classes=10)`."""

import difflib
import inspect

from .regionvit import VARIANTS, RegionViT

FREE = "regionvit"
KEYWORDS = inspect.signature(RegionViT).parameters
REQUIRED = [name for name, keyword in KEYWORDS.items() if keyword.default is keyword.empty]


def build_model(name, **overrides):
    """Build a RegionViT by name.

    Args:
        name: a key of `VARIANTS`, or "regionvit" for a free one that `overrides` describe in full.
        overrides: keyword arguments of `RegionViT`, which take the place of the variant's own.

    Raises:
        ValueError: an unknown name or keyword, or a shape that cannot work; the message lists what is valid.
    """
    if name != FREE and name not in VARIANTS:
        raise ValueError(
            f"unknown model {name!r}{_did_you_mean(name, VARIANTS)}; valid: {', '.join([FREE, *VARIANTS])}"
        )
    for key in overrides:
        if key not in KEYWORDS:
            raise ValueError(
                f"{name} has no keyword {key!r}{_did_you_mean(key, KEYWORDS)}; valid: {', '.join(KEYWORDS)}"
            )
    settings = {**VARIANTS.get(name, {}), **overrides}
    missing = [key for key in REQUIRED if key not in settings]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)} too: describe a free model in full")
    return RegionViT(**settings)


def _did_you_mean(word, valid):
    close = difflib.get_close_matches(word, valid, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
