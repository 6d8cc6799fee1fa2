"""A backbone for other tasks, as detection and segmentation: a model that returns the local map of each stage."""

from pathlib import Path

import numpy as np
from paddle import Tensor, nn

import models
from engine.config.options import Config
from engine.inference.trained import Trained, unchanged
from engine.system import tf32
from engine.system.device import select_device
from engine.system.precision import MixedPrecision
from engine.weights import pdparams
from models import RegionViT
from models.names import OF_CLASSIFIERS

ANY = "cls_token.proj.weight"  # weights that every backbone has
DET_NORM = "norm0.weight"  # weights with this name are of a backbone with `det_norm`


class FeatureMaps(nn.Layer):
    """The feature maps of a backbone: pictures [B, 3, H, W] -> one map [B, C, H / stride, W / stride] per stage."""

    def __init__(self, backbone: RegionViT):
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.backbone.forward_features(x, detection=True)
        assert isinstance(maps, list)
        return maps


def names(config: Config) -> list[str]:
    """Return the names of a config's feature maps: the paper's stages. Two of them may have the same stride."""
    return [f"stage{i + 1}" for i in range(len(models.VARIANTS[config.model.name]["depth"]))]


def load(weights: str | Path, config: Config) -> tuple[Trained, list[str]]:
    """Build a config's backbone on its device with weights from a file.

    The weights are those of a run, of a conversion, or of a backbone that another library has trained, alone or within
    a whole detector or segmenter. They decide whether the backbone has `det_norm`.

    Returns:
        (the backbone, whose `model` is a `FeatureMaps`; lines for the log).

    Raises:
        UserError: the device or the weights cannot be used with this config.
    """
    path = Path(weights)
    device = select_device(config.device)
    tf32.allow(config.amp.allow_tf32)
    with unchanged(path) as digest:
        arrays = pdparams.first_names(pdparams.read(path), path)
    arrays, lines = _of_the_backbone(arrays, path)
    arrays = {name: array for name, array in arrays.items() if not name.startswith(OF_CLASSIFIERS)}
    backbone = models.build_model(
        config.model.name, num_classes=0, padding_mask=config.model.padding_mask, det_norm=DET_NORM in arrays
    )
    backbone.norm = nn.Identity()
    pdparams.fill(backbone, arrays, path)
    model = FeatureMaps(backbone)
    model.eval()
    return Trained(model, MixedPrecision(device=device), device, config, path, digest, noted_classes=None), lines


def _of_the_backbone(arrays: dict[str, np.ndarray], path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the arrays of the backbone among those of a whole model, as `backbone.model.*`; and lines for the log."""
    prefixes = [name.removesuffix(ANY) for name in arrays if name.endswith(f".{ANY}")]
    if len(prefixes) != 1:
        return arrays, []
    inside = {name.removeprefix(prefixes[0]): each for name, each in arrays.items() if name.startswith(prefixes[0])}
    return inside, [f"backbone: {len(inside)} of the {len(arrays)} arrays in {path}, those named {prefixes[0]}*"]
