"""What a built model is made of, as numbers: for a figure of it, or a page about it."""

from dataclasses import dataclass
from math import prod

from .flops import Shape, count_layers, totals
from .layers import Conv2D
from .regionvit import RegionViT


@dataclass(frozen=True)
class StageNumbers:
    """One stage.

    Attributes:
        regional, local: (rows, columns) of its maps.
        halving: how much smaller than before the sides of its maps are: 1 or 2.
        parameters, multiply_adds: its shares of the model's.
    """

    channels: int
    heads: int
    encoders: int
    peg: bool
    halving: int
    regional: Shape
    local: Shape
    parameters: float
    multiply_adds: float


@dataclass(frozen=True)
class Architecture:
    """A model, and the shapes of one picture in it, the batch included.

    Attributes:
        picture: (1, channels, height, width).
        stem: (kernel, stride) of each convolution that makes local tokens.
        patch, region: the sides of a local and of a regional token's patch in pixels.
        ws: the side of a window in local tokens.
        regional, local: the maps of tokens that enter the first stage, (1, C, rows, columns).
        rsa, lsa: the sequences in the first encoder: (1, regions, C), and (windows, 1 + ws * ws, C).
        hidden: the channels inside the first encoder's FFN.
        features: (1, C); classes: how many, 0 without a head.
        parameters, multiply_adds: of the whole model.
    """

    picture: Shape
    stem: tuple[tuple[int, int], ...]
    patch: int
    region: int
    ws: int
    regional: Shape
    local: Shape
    rsa: Shape
    lsa: Shape
    hidden: int
    stages: tuple[StageNumbers, ...]
    features: Shape
    classes: int
    parameters: int
    multiply_adds: int


def measure(model: RegionViT, height: int, width: int) -> Architecture:
    """Return the numbers of a model, from its layers and from the shapes of a forward pass."""
    layers = count_layers(model, height, width)
    outputs = {layer.path: layer.outputs for layer in layers}
    convs = [layer for layer in model.patch_embed.sublayers() if isinstance(layer, Conv2D)]
    patch = prod(conv.stride for conv in convs)
    strides = [patch, *model.feature_strides]
    rsa, lsa = outputs["layers.0.block.1.attn"]
    parameters, multiply_adds = totals(layers)
    stages = []
    for i, stage in enumerate(model.layers):
        regional, local = outputs[f"layers.{i}"]
        own = totals(layer for layer in layers if f"{layer.path}.".startswith(f"layers.{i}."))
        stages.append(
            StageNumbers(
                channels=model.feature_channels[i],
                heads=stage.block[1].attn.num_heads,
                encoders=len(stage.block) - 1,
                peg=stage.peg is not None,
                halving=strides[i + 1] // strides[i],
                regional=regional[2:],
                local=local[2:],
                parameters=own[0] / parameters,
                multiply_adds=own[1] / multiply_adds,
            )
        )
    return Architecture(
        picture=(1, convs[0].weight.shape[1], height, width),
        stem=tuple((conv.weight.shape[2], conv.stride) for conv in convs),
        patch=patch,
        region=model.cls_token.patch_size,
        ws=model.layers[0].ws,
        regional=outputs["cls_token"][0],
        local=outputs["patch_embed"][0],
        rsa=rsa,
        lsa=lsa,
        hidden=outputs["layers.0.block.1.mlp.fc1"][0][-1],
        stages=tuple(stages),
        features=(1, outputs["norm"][0][-1]),
        classes=model.num_classes,
        parameters=parameters,
        multiply_adds=multiply_adds,
    )
