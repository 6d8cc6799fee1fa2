"""The moving average of the weights: what is validated and kept where `train.ema_decay` is set."""

import contextlib

import paddle

from common import paddle_private
from models.names import first_name


class MovingAverage:
    """An exponential moving average of a model's parameters, in float32 whatever the model's precision.

    After optimizer step t, counted from 1: average += (1 - d) * (weights - average), where d = min(decay,
    (1 + t) / (10 + t)), so that an average of few steps is not mostly the initial weights. As TensorFlow's
    `tf.train.ExponentialMovingAverage` has it.

    Args:
        model: with the weights that the average starts at.
        optimizer: of which the float32 weights are averaged where the model's are of 16 bits.
        decay: above 0 and below 1.
    """

    def __init__(self, model, optimizer, decay):
        self.model, self.optimizer, self.decay = model, optimizer, decay
        self.row = self._weights()  # all parameters end to end: an update is few launches

    @paddle.no_grad()
    def update(self, step):
        """Take in the weights that optimizer step number `step` has left; nothing is read back from the device."""
        decay = min(self.decay, (1 + step) / (10 + step))
        self.row.lerp_(self._weights(), 1 - decay)

    def parameters(self):
        """Return the averages of the model's parameters by name, float32 on the device."""
        named = dict(self.model.named_parameters())
        rows = self.row.split([int(parameter.size) for parameter in named.values()])
        return {key: row.reshape(parameter.shape) for (key, parameter), row in zip(named.items(), rows, strict=True)}

    def state_dict(self):
        """Return the model's state dict with the averages in place of parameters; buffers are the model's own."""
        averages = self.parameters()
        return {key: averages.get(first_name(key), tensor) for key, tensor in self.model.state_dict().items()}

    def arrays(self):
        """Return the averages by name as numpy arrays, for a checkpoint; `restore` goes on from them."""
        return {key: average.numpy() for key, average in self.parameters().items()}

    def restore(self, arrays):
        """Go on from what `arrays` gave."""
        named = self.model.named_parameters()
        self.row = paddle.concat([paddle.to_tensor(arrays[key]).flatten() for key, _ in named])

    @contextlib.contextmanager
    def in_the_model(self):
        """Within this context the model has the averages, in its own precision; then its weights again, bit for bit."""
        weights = {key: parameter.clone() for key, parameter in self.model.named_parameters()}
        try:
            self._assign(self.parameters())
            yield
        finally:
            self._assign(weights)

    @paddle.no_grad()
    def _assign(self, values):
        for key, parameter in self.model.named_parameters():
            paddle.assign(values[key].astype(parameter.dtype), parameter)

    @paddle.no_grad()
    def _weights(self):
        """All parameters end to end, those of 16 bits as the optimizer has them in float32."""
        masters = paddle_private.master_weights(self.optimizer)  # by a parameter's name; none before the first step
        weights = [masters.get(parameter.name, parameter) for parameter in self.model.parameters()]
        return paddle.concat([tensor.flatten().astype("float32") for tensor in weights])


def averaged(average):
    """Return the context in which the model has the averages, where there are any: the weights that are validated."""
    return average.in_the_model() if average else contextlib.nullcontext()
