"""The training loss."""

import paddle.nn.functional as F
from paddle import Tensor, nn

from common.division import divided

FEW = 100_000


class LabelSmoothingCrossEntropy(nn.Layer):
    """Cross entropy with label smoothing: a share `smoothing` of each label is spread evenly over all classes.

    logits [B, classes], labels [B] -> scalar, the mean over the batch of
    (1 - smoothing) * -log p[label] + smoothing * mean over classes of -log p.
    Labels may also be soft, float32 [B, classes]: the first term is then the label-weighted mean of -log p.

    Raises:
        ValueError: smoothing is outside [0, 1).

    Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7.
    """

    def __init__(self, smoothing: float = 0.1):
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing {smoothing}: expected 0 or more and below 1")
        self.smoothing = smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_p = F.log_softmax(logits, axis=-1)
        nll = F.nll_loss(log_p, labels) if labels.ndim == 1 else -(labels * log_p).sum(axis=1).mean()
        return (1 - self.smoothing) * nll - self.smoothing * _mean(log_p)


def _mean(x: Tensor) -> Tensor:
    """Return the mean of all numbers. On a CPU, Paddle's `mean` of many equal ones is wrong: per cents of millions.

    Its `sum` of everything is right. Up to `FEW` the error is that of rounding, and older runs keep their bits.
    """
    return x.mean() if x.size <= FEW else divided(x.sum(), x.size)
