"""The variants of the paper in one table, and `build_model`."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from .regionvit import RegionViT

FREE = "regionvit"
KEYWORDS = inspect.signature(RegionViT).parameters
REQUIRED = [name for name, keyword in KEYWORDS.items() if keyword.default is keyword.empty]


def _variant(
    dim: int,
    num_heads: int,
    depth: tuple[int, ...],
    patch_conv_type: str,
    ws: int,
    peg: bool = False,
    img_size: int = 224,
) -> dict[str, Any]:
    stages = range(len(depth))
    return {
        "img_size": img_size,
        "patch_size": 4,
        "patch_conv_type": patch_conv_type,
        "embed_dim": (dim, *(dim * 2**i for i in stages)),
        "num_heads": tuple(num_heads * 2**i for i in stages),
        "depth": depth,
        "kernel_sizes": (ws,) * len(depth),
        "downsampling": ("c", *["sc"] * (len(depth) - 1)),
        "peg": peg,
    }


# The paper's table of architectures; channels and heads are those of the first stage and double with each further one.
# The last two rows are this project's own, for 32 x 32 pictures in their native size on small machines.
VARIANTS = {
    #                                    dim  heads      depth    patch conv  ws
    "regionvit_tiny_224": _variant(       64,     2, (2, 2,  8, 2), "3conv",   7),
    "regionvit_small_224": _variant(      96,     3, (2, 2,  8, 2), "3conv",   7),
    "regionvit_medium_224": _variant(     96,     3, (2, 2, 14, 2), "1conv",   7),
    "regionvit_base_224": _variant(      128,     4, (2, 2, 14, 2), "1conv",   7),
    "regionvit_small_w14_224": _variant(  96,     3, (2, 2,  8, 2), "3conv",  14),
    "regionvit_small_w14_peg_224": _variant(96,   3, (2, 2,  8, 2), "3conv",  14, peg=True),
    "regionvit_base_w14_224": _variant(  128,     4, (2, 2, 14, 2), "1conv",  14),
    "regionvit_base_w14_peg_224": _variant(128,   4, (2, 2, 14, 2), "1conv",  14, peg=True),
    "regionvit_micro_32": _variant(       96,     3, (2, 3),        "3conv",   4, img_size=32),
    "regionvit_micro_conv_32": _variant(  96,     3, (1, 3),        "4conv",   4, img_size=32),
}  # fmt: skip


def build_model(name: str, **overrides: Any) -> RegionViT:
    """Build a RegionViT by name.

    Args:
        name: a key of `VARIANTS`, or "regionvit" for a free architecture that `overrides` describe in full.
        overrides: keyword arguments of `RegionViT`, which override those of the variant.

    Raises:
        ValueError: an unknown name or keyword, or an impossible shape; the message lists the valid ones.
    """
    if name != FREE and name not in VARIANTS:
        raise ValueError(
            f"unknown model {name!r}{_did_you_mean(name, VARIANTS)}; valid: {', '.join([FREE, *VARIANTS])}"
        )
    for key in overrides:
        if key not in KEYWORDS:
            raise ValueError(
                f"{name} does not take {key!r}{_did_you_mean(key, KEYWORDS)}; valid: {', '.join(KEYWORDS)}"
            )
    settings = {**VARIANTS.get(name, {}), **overrides}
    missing = [key for key in REQUIRED if key not in settings]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)} too: describe a free model in full")
    return RegionViT(**settings)


def _did_you_mean(word: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, valid, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
