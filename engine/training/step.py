"""One optimizer step: forward and backward passes, the update, and the norm of its gradients."""

from collections.abc import Callable, Sequence

import paddle
from paddle import Tensor, nn

from engine.system import processes
from engine.training.state import State

Criterion = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor]


def train_step(state: State, batches: Sequence[Batch], criterion: Criterion) -> tuple[Tensor, Tensor, Tensor]:
    """Update the weights by the mean gradient of batches [(images, labels), ...], all of one size.

    Returns the mean loss (a scalar), all logits [pictures, classes] and labels [pictures], or [pictures, classes] if
    the batches are mixed, still on the device. The gradients stay until the next step.
    """
    scaler, optimizer, (*others, last) = state.precision.scaler, state.optimizer, batches
    optimizer.clear_grad(set_to_zero=False)  # zeros would be one launch to fill, and one to add to, per parameter
    with processes.not_averaging(state.network):
        done = [_backward(state, batch, criterion, len(batches)) for batch in others]
    done.append(_backward(state, last, criterion, len(batches)))
    processes.finish_gradients(state.network)
    scaler.step(optimizer)
    scaler.update()
    state.schedule.step()
    if state.average:
        state.average.update(state.step + 1)
    if len(batches) == 1:
        return done[0]
    losses, logits, labels = zip(*done, strict=True)
    return paddle.stack(losses).mean(), paddle.concat(logits), paddle.concat(labels)


def _backward(state: State, batch: Batch, criterion: Criterion, batches: int) -> tuple[Tensor, Tensor, Tensor]:
    """Add the gradients of one of `batches` batches; return its loss, logits and labels."""
    images, labels = batch
    logits = state.network(images)
    loss = criterion(logits.astype("float32"), labels)
    state.precision.scaler.scale(loss / batches if batches > 1 else loss).backward()
    return loss, logits, labels


@paddle.no_grad()
def gradient_norm(model: nn.Layer) -> Tensor:
    """Return the norm of the last step's gradients, all of them as one vector: a scalar on the device."""
    gradients = [weights.grad for weights in model.parameters() if weights.grad is not None]
    # Not Tensor.norm: on a CPU, Paddle 3.3.1 loses a tenth and more of 70 million numbers. The sum of everything
    # is right to six digits in float32 too; a sum along an axis is not.
    squares = [gradient.astype("float32").square().sum(dtype="float64") for gradient in gradients]
    return paddle.stack(squares).sum().sqrt()
