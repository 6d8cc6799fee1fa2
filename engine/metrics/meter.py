"""Loss and accuracy, summed on the device and read back only on request; the one rule for ties of logits."""

from collections.abc import Sequence

import paddle
from paddle import Tensor

from engine.system import processes

TOP = 5  # of top-5


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many classes come before each label's: logits [B, classes], labels [B] -> int64 [B].

    Classes are in order of their logits, the highest first; of equal ones the first class comes first, as in numpy's
    argmax. Logits of 16 bits are often equal. Paddle's topk has no such rule. NaN comes before everything.
    """
    own, index = logits.take_along_axis(labels.unsqueeze(1), axis=1), paddle.arange(logits.shape[1])
    after = (logits < own) | ((logits <= own) & (index > labels.unsqueeze(1)))  # 2.6.2's == takes 1e-9 for 0
    return logits.shape[1] - 1 - after.astype("int64").sum(axis=1)


class Meter:
    """Mean loss, top-1 and top-5 accuracy over all pictures so far.

    Of five or fewer classes there is no top-5 accuracy, which would always be 1: it is None.

    `update` does not synchronize. `read` synchronizes the device and all processes of the run, which must call it
    together.
    """

    def __init__(self, num_classes: int):
        self.k, self.has_top5 = min(TOP, num_classes), num_classes > TOP
        self.images = 0
        self.sums = paddle.zeros([1 + self.k], dtype="float64")  # loss, then hits at rank 1, 2, ...
        self.last_loss = paddle.zeros([1], dtype="float64")

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: the mean over the batch, a scalar.
            logits: [B, classes].
            labels: [B], or soft [B, classes], of which the largest counts.
        """
        with paddle.no_grad():
            if labels.ndim == 2:
                labels = labels.argmax(axis=1)
            hits = (ranks(logits, labels).unsqueeze(1) == paddle.arange(self.k)).astype("float64").sum(axis=0)
            self.last_loss = loss.detach().astype("float64").reshape([1])
            self.sums += paddle.concat([self.last_loss * len(labels), hits])
            self.images += len(labels)

    def read(self) -> dict:
        """Return the metrics over all processes.

        Returns:
            {"loss", "top1", "top5", "images", "last_loss"}: mean over pictures, fractions, number of pictures, and
            the mean over the last batch of every process.
        """
        last_loss, images, loss, *hits = self._over_all_processes()
        return {
            "loss": loss / images,
            "top1": hits[0] / images,
            "top5": sum(hits) / images if self.has_top5 else None,
            "images": int(images),
            "last_loss": last_loss / processes.size(),
        }

    def counts(self) -> list[float]:
        """Return the sums over all processes, for `restore`."""
        return self._over_all_processes()[1:]

    def restore(self, counts: Sequence[float]) -> None:
        """Continue from the sums over all processes, which rank 0 takes over."""
        if processes.rank() == 0:
            self.images, self.sums = int(counts[0]), paddle.to_tensor(counts[1:], dtype="float64")

    def _over_all_processes(self) -> list[float]:
        images = paddle.full([1], self.images, dtype="float64")
        return processes.total(paddle.concat([self.last_loss, images, self.sums])).tolist()
