"""The official implementation, for `tools/benchmark.py --against`: the code of IBM/RegionViT, from a checkout.

It is looked for beside this project, in ../RegionViT-official, or where OFFICIAL_REGIONVIT says:
  git clone https://github.com/IBM/RegionViT ../RegionViT-official

It takes six names from timm, all of them a line here, so that torch is all that its Python needs.
"""

import os
import sys
import types
from pathlib import Path

from torch import nn

CHECKOUT = Path(os.environ.get("OFFICIAL_REGIONVIT") or Path(__file__).resolve().parents[3] / "RegionViT-official")


def mlp(in_features, hidden_features, out_features, act_layer, drop):
    first, second = nn.Linear(in_features, hidden_features), nn.Linear(hidden_features, out_features)
    return nn.Sequential(first, act_layer(), nn.Dropout(drop), second, nn.Dropout(drop))


TIMM = {
    "timm.models.layers": {
        "to_2tuple": lambda value: value if isinstance(value, tuple) else (value, value),
        "trunc_normal_": nn.init.trunc_normal_,
        "DropPath": None,  # is built for a rate above 0 alone
    },
    "timm.models.registry": {"register_model": lambda function: function},
    "timm.models.vision_transformer": {"Mlp": mlp, "_cfg": dict},
}


def build(variant, num_classes):
    """Return the official model of a variant: pictures [B, 3, S, S] -> logits [B, num_classes]."""
    if not (CHECKOUT / "regionvit" / "regionvit.py").is_file():
        raise FileNotFoundError(
            f"no official code in {CHECKOUT}: git clone https://github.com/IBM/RegionViT there, "
            "or name its folder in OFFICIAL_REGIONVIT"
        )
    for name, contents in TIMM.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
    sys.path.insert(0, str(CHECKOUT))
    from regionvit import regionvit

    if variant not in regionvit._model_cfg:
        raise ValueError(f"the official code has no variant {variant}; it has {', '.join(regionvit._model_cfg)}")
    return regionvit.RegionViT(**regionvit._model_cfg[variant], num_classes=num_classes)
