"""The training loss."""

import paddle.nn.functional as F
from paddle import nn


class LabelSmoothingCrossEntropy(nn.Layer):
    """Cross entropy against labels of which a share `smoothing` is spread evenly over all classes.

    logits [B, classes], integer labels [B] -> the mean over the batch, a scalar:
    (1 - smoothing) * -log p[label] + smoothing * mean over classes of -log p.
    Labels may also be shares of the classes, float32 [B, classes]: the first term is then their mean of -log p.
    Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7.
    """

    def __init__(self, smoothing=0.1):
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing {smoothing}: give a share from 0 to below 1")
        self.smoothing = smoothing

    def forward(self, logits, labels):
        log_p = F.log_softmax(logits, axis=-1)
        nll = F.nll_loss(log_p, labels) if labels.ndim == 1 else -(labels * log_p).sum(axis=1).mean()
        return (1 - self.smoothing) * nll - self.smoothing * log_p.mean()
