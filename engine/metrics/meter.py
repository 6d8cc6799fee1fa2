"""Loss and accuracy, summed on the device and read back only on request."""

from collections.abc import Sequence

import paddle
from paddle import Tensor

from engine.system import processes


class Meter:
    """Mean loss, top-1 and top-5 accuracy over all pictures so far; with fewer than five classes, top-5 is 1.

    `update` does not synchronize. `read` synchronizes the device and all processes of the run, which must call it
    together.
    """

    def __init__(self, num_classes: int):
        self.k = min(5, num_classes)
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
            ranked = paddle.topk(logits, self.k, axis=-1)[1]  # B, k
            hits = (ranked == labels.unsqueeze(1)).astype("float64").sum(axis=0)
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
            "top5": sum(hits) / images,
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
