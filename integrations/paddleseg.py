"""RegionViT as a backbone of PaddleSeg, and what PaddleSeg 2.8.0 needs in order to train and evaluate on Paddle 3.

Importing this module does all of it:

- configs may say `backbone: {type: RegionViT, variant: regionvit_small_224}`;
- configs may say `loss: {types: [{type: PixelCrossEntropy}], coef: [1]}`;
- PaddleSeg's evaluation counts with the function below. Nothing else of PaddleSeg is changed, and no file of it.

Never put this folder itself on `sys.path`: this file would take the place of the package that it imports.
"""

from collections.abc import Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddleseg.cvlibs import manager
from paddleseg.utils import metrics

from .backbone import Backbone


@manager.BACKBONES.add_component
class RegionViT(Backbone):
    """A map per stage, the largest first: [B, in_channels, height, width] -> [[B, feat_channels[i], H_i, W_i], ...].

    Args:
        variant, return_idx, frozen_stages, pretrained, pretrained_resample and architecture: see `Backbone`.
        in_channels: PaddleSeg itself adds it to the config of a data set of its own, such as ADE20K.

    Attributes:
        feat_channels: one entry per map; PaddleSeg's models read it when they are built.
    """

    def __init__(self, variant: str, in_channels: int = 3, return_idx: Sequence[int] = (0, 1, 2, 3), **settings: Any):
        super().__init__(variant, return_idx, in_chans=in_channels, **settings)
        self.feat_channels = self.channels


@manager.LOSSES.add_component
class PixelCrossEntropy(nn.Layer):
    """Mean cross-entropy over the pixels that have a label: [B, classes, H, W], [B, H, W] -> [1].

    On Paddle 3, PaddleSeg's CrossEntropyLoss multiplies floating-point numbers by integers, which Paddle refuses.
    """

    def __init__(self, ignore_index: int = 255):
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss = F.cross_entropy(logits, labels.astype("int64"), ignore_index=self.ignore_index, axis=1)
        return loss.reshape([1])  # the log of PaddleSeg's `train` reads loss[0], which a scalar of Paddle 3 lacks


def calculate_area(
    pred: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255
) -> tuple[Tensor, Tensor, Tensor]:
    """Count the pixels of each class: those that are right, the predicted, the true: int64 [num_classes] each.

    PaddleSeg's function of this name joins sums by `paddle.concat`, which on Paddle 3 are scalars, and refused.
    """
    label = label.flatten()
    pred = pred.flatten().astype(label.dtype)
    labeled = label != ignore_index
    pred, label = pred[labeled], label[labeled]
    return tuple(
        paddle.bincount(classes, minlength=num_classes)[:num_classes] for classes in (pred[pred == label], pred, label)
    )


metrics.calculate_area = calculate_area  # `paddleseg.core.evaluate` looks it up there
