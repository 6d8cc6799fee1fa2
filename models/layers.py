"""The layers that RegionViT is made of, apart from attention."""

import paddle
from paddle import Tensor, nn

from common.division import divided

from . import cpu, lean
from .precision import as_type, weights_of


def truncated_normal(std: float) -> nn.initializer.Initializer:
    """Return an initializer: normal of standard deviation `std`, truncated at two of them on every Paddle.

    Paddle 2.6 always truncates there; 3.x truncates at `a` and `b`, whose defaults are the absolute values -2 and 2.
    """
    bounds = {} if paddle.__version__.startswith("2.") else {"a": -2 * std, "b": 2 * std}
    return nn.initializer.TruncatedNormal(std=std, **bounds)


class Linear(nn.Linear):
    """A linear layer [..., in] -> [..., out] with RegionViT's initialization: weight of std 0.02, bias 0."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        weight = paddle.ParamAttr(initializer=truncated_normal(std=0.02))
        super().__init__(in_features, out_features, weight, None if bias else False)

    def forward(self, x: Tensor) -> Tensor:
        return cpu.linear(x, *weights_of(self, x.dtype))


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last axis: [..., C] -> [..., C]."""

    def __init__(self, channels: int, epsilon: float = 1e-6):
        super().__init__(channels, epsilon)
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return cpu.layer_norm(x, self.weight, self.bias, self.epsilon)


class LayerNorm2D(nn.Layer):
    """Layer norm over the channels of a map, pixel by pixel: [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int, epsilon: float = 1e-5):
        super().__init__()
        self.epsilon = epsilon
        ones, zeros = nn.initializer.Constant(1.0), nn.initializer.Constant(0.0)
        self.weight = self.create_parameter([1, channels, 1, 1], default_initializer=ones)
        self.bias = self.create_parameter([1, channels, 1, 1], default_initializer=zeros)

    def forward(self, x: Tensor) -> Tensor:
        return cpu.layer_norm_2d(x, self.weight, self.bias, self.epsilon)


class Conv2D(nn.Conv2D):
    """A convolution with bias: [B, in, H, W] -> [B, out, H', W']."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0):
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, padding=padding)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return cpu.conv2d(x, *weights_of(self, x.dtype), self.stride, self.padding)


class DepthwiseConv2D(nn.Conv2D):
    """A 3 x 3 convolution of each channel by itself: [B, in, H, W] -> [B, out, H', W'], out a multiple of in.

    It computes in float32, because Paddle's GPU kernel adds the gradient of a weight up in the type of its input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, bias: bool = True):
        bias_attr = None if bias else False
        super().__init__(
            in_channels, out_channels, 3, stride=stride, padding=1, groups=in_channels, bias_attr=bias_attr
        )
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = cpu.depthwise_conv2d(as_type(x, self.weight.dtype), self.weight, self.bias, self.stride)
        return as_type(y, x.dtype)


class GELU(nn.Layer):
    """The exact (erf) GELU, of any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return cpu.gelu(x)


class LinearOfGelu(Linear):
    """A linear layer of the exact (erf) GELU of its input, with dropout between them: [..., in] -> [..., out]."""

    def __init__(self, in_features: int, out_features: int, drop_rate: float = 0.0):
        super().__init__(in_features, out_features)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.drop.p:
            return super().forward(self.drop(cpu.gelu(x)))
        return lean.linear_of_gelu(x, *weights_of(self, x.dtype))


class Mlp(nn.Layer):
    """Two linear layers with an exact (erf) GELU between them: [..., C] -> [..., C]."""

    def __init__(self, dim: int, hidden_dim: int, drop_rate: float = 0.0):
        super().__init__()
        self.fc1 = Linear(dim, hidden_dim)
        self.fc2 = LinearOfGelu(hidden_dim, dim, drop_rate)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.fc1(x)))


class DropPath(nn.Layer):
    """Stochastic depth: in training, zero each row of the first axis with probability `rate`: [S, ...] -> [S, ...].

    The other rows are divided by 1 - rate.
    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        kept = paddle.rand([x.shape[0]] + [1] * (x.ndim - 1)) < keep
        return x * divided(kept.astype(x.dtype), keep)
