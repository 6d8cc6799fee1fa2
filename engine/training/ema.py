"""The moving average of the weights, which is validated and kept if `train.ema_decay` is set."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from models.names import first_name


class MovingAverage:
    """An exponential moving average of a model's parameters, in float32 whatever the model's precision.

    After optimizer step t, counted from 1: average += (1 - d) * (weights - average), where d = min(decay,
    (1 + t) / (10 + t)), so that the initial weights do not dominate the average of the first steps. Source: TensorFlow,
    `tf.train.ExponentialMovingAverage` with `num_updates`.

    Args:
        model: the average starts at its weights.
        optimizer: holds the float32 weights if the model's have 16 bits.
        decay: above 0 and below 1.
    """

    def __init__(self, model: nn.Layer, optimizer: Any, decay: float):
        self.model, self.optimizer, self.decay = model, optimizer, decay
        self.row = self._weights()  # all parameters end to end: an update takes few launches

    @paddle.no_grad()
    def update(self, step: int) -> None:
        """Add the weights that optimizer step number `step` left; nothing is read back from the device."""
        decay = min(self.decay, (1 + step) / (10 + step))
        self.row.lerp_(self._weights(), 1 - decay)

    def parameters(self) -> dict[str, Tensor]:
        """Return the averages of the model's parameters by name, float32 on the device."""
        named = dict(self.model.named_parameters())
        rows = self.row.split([int(parameter.size) for parameter in named.values()])
        return {key: row.reshape(parameter.shape) for (key, parameter), row in zip(named.items(), rows, strict=True)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the model's state dict with averages instead of parameters; buffers are the model's own."""
        averages = self.parameters()
        return {key: averages.get(first_name(key), tensor) for key, tensor in self.model.state_dict().items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the averages by name as arrays for a checkpoint."""
        return {key: average.numpy() for key, average in self.parameters().items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from the averages that `arrays` returned."""
        named = self.model.named_parameters()
        self.row = paddle.concat([paddle.to_tensor(arrays[key]).flatten() for key, _ in named])

    @contextlib.contextmanager
    def in_the_model(self) -> Iterator[None]:
        """Give the model the averages, in its own precision; on leaving, give back its weights bit for bit."""
        weights = {key: parameter.clone() for key, parameter in self.model.named_parameters()}
        try:
            self._assign(self.parameters())
            yield
        finally:
            self._assign(weights)

    @paddle.no_grad()
    def _assign(self, values: dict[str, Tensor]) -> None:
        for key, parameter in self.model.named_parameters():
            paddle.assign(values[key].astype(parameter.dtype), parameter)

    @paddle.no_grad()
    def _weights(self) -> Tensor:
        """Return all parameters end to end; for those of 16 bits, the optimizer's float32 weights."""
        masters = self.optimizer.masters()
        weights = [masters.get(parameter.name, parameter) for parameter in self.model.parameters()]
        return paddle.concat([tensor.flatten().astype("float32") for tensor in weights])


def averaged(average: MovingAverage | None) -> AbstractContextManager[None]:
    """Return a context in which the model has its averages, if there are any: the weights that are validated."""
    return average.in_the_model() if average else contextlib.nullcontext()
