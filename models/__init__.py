"""RegionViT and its variants: `build_model("regionvit_tiny_224", num_classes=10)`."""

from .regionvit import RegionViT
from .variants import VARIANTS, build_model

__all__ = ["VARIANTS", "RegionViT", "build_model"]
