"""Mixup and CutMix: the pictures of a training batch are mixed in pairs, and so are their labels.

Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun et al., "CutMix: Regularization
Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019. There is one draw per batch, as in timm.
"""

from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from . import streams


@dataclass(frozen=True)
class Mix:
    """How each picture of a batch is mixed with the previous one."""

    share: float  # of the picture itself, and of its label
    box: tuple[int, int, int, int] | None = None  # top, left, height, width of the part that CutMix pastes; None: mixup


@dataclass(frozen=True)
class Mixing:
    """How all batches of a run are mixed: by mixup, by CutMix, or by each in half of the steps.

    mixup, cutmix: alpha of the Beta(alpha, alpha) from which the share is drawn. 0 switches one off; not both are 0.
    """

    mixup: float
    cutmix: float
    num_classes: int

    def __call__(self, images: Tensor, labels: Tensor, *drawn_from: int) -> tuple[Tensor, Tensor]:
        """Mix a batch; see `mix`. drawn_from: seed, step, process and batch within the step."""
        rng = streams.generator(streams.MIXING, *drawn_from)
        height, width = images.shape[2:]
        return mix(images, labels, self.num_classes, sample(rng, height, width, self.mixup, self.cutmix))


def sample(rng: np.random.Generator, height: int, width: int, mixup: float, cutmix: float) -> Mix:
    """Draw how a batch of pictures of height x width is mixed."""
    cuts = rng.random() < 0.5 if mixup and cutmix else cutmix > 0
    alpha = cutmix if cuts else mixup
    share = rng.beta(alpha, alpha)
    if not cuts:
        return Mix(share)
    # The box has the picture's shape and its center anywhere. Clipping it to the picture changes the share.
    sides = np.rint(np.array([height, width]) * np.sqrt(1 - share)).astype(int)
    begin = rng.integers([height, width]) - sides // 2
    top, left = begin.clip(0).tolist()
    bottom, right = (begin + sides).clip(max=[height, width]).tolist()
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, left, bottom - top, right - left))


@paddle.no_grad()
def mix(images: Tensor, labels: Tensor, num_classes: int, value: Mix) -> tuple[Tensor, Tensor]:
    """Mix pictures [B, 3, H, W] and labels, integers [B] -> pictures, and labels as shares float32 [B, classes]."""
    labels = _blend(F.one_hot(labels, num_classes), value.share)
    if value.box is None:
        return _blend(images, value.share), labels
    top, left, height, width = value.box
    if height and width:
        here = (slice(None), slice(None), slice(top, top + height), slice(left, left + width))
        before, images = paddle.roll(images[here], 1, axis=0), images.clone()
        images[here] = before
    return images, labels


def _blend(rows: Tensor, share: float) -> Tensor:
    return rows * share + paddle.roll(rows, 1, axis=0) * (1 - share)
