"""Loss and accuracy that add up on the device and are read back when somebody asks."""

import paddle

from engine.system import processes


class Meter:
    """Running sums over pictures: mean loss, top-1 and (with five classes or more) top-5 accuracy.

    `update` launches work on the device and waits for nothing; `read` is one read-back, which waits, also for the
    other processes of the run: all have to read at the same time.
    """

    def __init__(self, num_classes):
        self.k = min(5, num_classes)
        self.images = 0
        self.sums = paddle.zeros([1 + self.k], dtype="float64")  # loss, then hits at rank 1, 2, ...
        self.last_loss = paddle.zeros([1], dtype="float64")

    def update(self, loss, logits, labels):
        """Add a batch: its mean loss (scalar), logits [B, classes], labels [B], or shares of the classes [B, classes],
        of which the largest counts."""
        with paddle.no_grad():
            if labels.ndim == 2:
                labels = labels.argmax(axis=1)
            ranked = paddle.topk(logits, self.k, axis=-1)[1]  # B, k
            hits = (ranked == labels.unsqueeze(1)).astype("float64").sum(axis=0)
            self.last_loss = loss.detach().astype("float64").reshape([1])
            self.sums += paddle.concat([self.last_loss * len(labels), hits])
            self.images += len(labels)

    def read(self):
        """Return what all processes have counted.

        Returns:
            {"loss", "top1", "top5", "images", "last_loss"}: a true mean over pictures, fractions, a number, and the
            mean over each process's last batch.
        """
        last_loss, images, loss, *hits = self._over_all_processes()
        return {
            "loss": loss / images,
            "top1": hits[0] / images,
            "top5": sum(hits) / images,
            "images": int(images),
            "last_loss": last_loss / processes.size(),
        }

    def counts(self):
        """Return the sums over all processes as numbers; `restore` goes on from them."""
        return self._over_all_processes()[1:]

    def restore(self, counts):
        """Go on from what all processes had counted."""
        if processes.rank() == 0:
            self.images, self.sums = int(counts[0]), paddle.to_tensor(counts[1:], dtype="float64")

    def _over_all_processes(self):
        images = paddle.full([1], self.images, dtype="float64")
        return processes.total(paddle.concat([self.last_loss, images, self.sums])).tolist()
