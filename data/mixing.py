"""Mixup and CutMix: the pictures of a training batch are mixed in pairs, and their labels with them.

Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun et al., "CutMix: Regularization
Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019. One draw a batch, as in timm.
"""

from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F

from . import streams


@dataclass(frozen=True)
class Mix:
    """How each picture of a batch is mixed with the one before it."""

    share: float  # of the picture itself, and of its label
    box: tuple[int, int, int, int] | None = None  # top, left, height, width of what CutMix pastes; None: mixup


@dataclass(frozen=True)
class Mixing:
    """How the batches of a run are mixed, all of them: by mixup, CutMix, or one of the two, equally often.

    mixup, cutmix: alpha of each one's Beta(alpha, alpha), from which the share comes; 0 is without it, not both.
    """

    mixup: float
    cutmix: float
    num_classes: int

    def __call__(self, images, labels, *drawn_from):
        """Mix a batch by what whole numbers decide: seed, step, process, and which of the step's batches; see `mix`."""
        rng = streams.generator(streams.MIXING, *drawn_from)
        return mix(images, labels, self.num_classes, sample(rng, *images.shape[2:], self.mixup, self.cutmix))


def sample(rng, height, width, mixup, cutmix):
    """Draw how a batch of pictures of height x width is mixed."""
    cuts = rng.random() < 0.5 if mixup and cutmix else cutmix > 0
    alpha = cutmix if cuts else mixup
    share = rng.beta(alpha, alpha)
    if not cuts:
        return Mix(share)
    # Of the picture's shape, its middle anywhere; what lies beyond the picture is cut off, and the share follows.
    sides = np.rint(np.array([height, width]) * np.sqrt(1 - share)).astype(int)
    begin = rng.integers([height, width]) - sides // 2
    top, left = begin.clip(0).tolist()
    bottom, right = (begin + sides).clip(max=[height, width]).tolist()
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, left, bottom - top, right - left))


@paddle.no_grad()
def mix(images, labels, num_classes, value):
    """Mix pictures [B, 3, H, W] and labels, integers [B] -> pictures, and labels float32 [B, classes], as shares."""
    labels = _blend(F.one_hot(labels, num_classes), value.share)
    if value.box is None:
        return _blend(images, value.share), labels
    top, left, height, width = value.box
    if height and width:
        here = (slice(None), slice(None), slice(top, top + height), slice(left, left + width))
        before, images = paddle.roll(images[here], 1, axis=0), images.clone()
        images[here] = before
    return images, labels


def _blend(rows, share):
    return rows * share + paddle.roll(rows, 1, axis=0) * (1 - share)
