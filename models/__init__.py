"""RegionViT and its variants: `build_model("regionvit_tiny_224", num_classes=10)`."""

import common  # noqa: F401  (before Paddle)

# isort: split
from .regionvit import RegionViT
from .variants import VARIANTS, build_model

__all__ = ["VARIANTS", "RegionViT", "build_model"]
