"""RegionViT: regional-to-local attention for vision transformers, on Paddle.

Chen, Panda, Fan: "RegionViT: Regional-to-Local Attention for Vision Transformers", ICLR 2022, arXiv 2106.02689.
The official implementation is IBM/RegionViT (Apache-2.0); a notebook ported it to Paddle and trained it on CIFAR-10.
This implementation is independent, computes the same numbers, and keeps the official parameter names: `cls_token` and
`proj_cls` belong to regional tokens, `patch_embed` to local ones.

Shapes: B pictures, C channels, a local map of H x W tokens, a regional map of Hr x Wr tokens, windows of ws x ws.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from .attention import Attention, position_biases
from .layers import GELU, Conv2D, DepthwiseConv2D, DropPath, LayerNorm, LayerNorm2D, Linear, Mlp
from .precision import CastOnce, as_type
from .recompute import recomputed
from .windows import PADDING_MASKS, Size, is_padded, merge, padding_mask, partition, relative_position_index

STEMS = {  # of each 3 x 3 convolution in a row: what divides the channels, and the stride
    "3conv": ((4, 2), (2, 2), (1, 1)),
    "4conv": ((2, 2), (2, 1), (1, 2), (1, 1)),  # this project's own: more of them, and at half the side of the picture
}
PATCH_CONVS = (*STEMS, "1conv", "linear")
DOWNSAMPLINGS = ("c", "sc")


class LocalPatchEmbed(nn.Layer):
    """Local tokens from small patches: [B, in_chans, height, width] -> [B, E, H, W] (Section 3, tokenization)."""

    def __init__(self, patch_size: int, in_chans: int, dim: int, conv_type: str):
        super().__init__()
        if conv_type in STEMS:
            if patch_size != 4 or dim % 4:
                raise ValueError(
                    f"patch_conv_type {conv_type!r} needs patch_size 4 and embed_dim[0] divisible by 4, "
                    f"not {patch_size} and {dim}: change these or use '1conv' or 'linear'"
                )
            layers: list[nn.Layer] = []
            for divisor, stride in STEMS[conv_type]:
                layers += [LayerNorm2D(in_chans), GELU()] if layers else []
                layers.append(Conv2D(in_chans, dim // divisor, kernel_size=3, stride=stride, padding=1))
                in_chans = dim // divisor
            self.proj = nn.Sequential(*layers)
        elif conv_type == "1conv":
            self.proj = Conv2D(in_chans, dim, 2 * patch_size, stride=patch_size, padding=patch_size - 1)
        else:
            self.proj = Conv2D(in_chans, dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class RegionalPatchEmbed(nn.Layer):
    """Regional tokens from large patches: [B, in_chans, height, width] -> [B, E, Hr, Wr] (Section 3, tokenization)."""

    def __init__(self, patch_size: int, in_chans: int, dim: int):
        super().__init__()
        self.patch_size = patch_size
        self.proj = Conv2D(in_chans, dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        k, (height, width) = self.patch_size, x.shape[2:]
        if height % k or width % k:
            # As in the official code, a side that is a multiple of k then grows by a whole k.
            rows, columns = k - height % k, k - width % k
            left, top = columns // 2, rows // 2
            x = F.pad(x, [left, columns - left, top, rows - top])
        return self.proj(x)


class Projection(nn.Layer):
    """Downsampling before a stage, the same for both maps: 'c' keeps a map, 'sc' halves its sides (rounded up).

    regional [B, C, Hr, Wr], local [B, C, H, W] -> both with the stage's channels and sides
    """

    def __init__(self, in_dim: int, dim: int, mode: str):
        super().__init__()
        if mode == "sc":
            if dim % in_dim:
                raise ValueError(f"downsampling 'sc' cannot go from {in_dim} to {dim} channels: give a multiple")
            self.proj = nn.Sequential(LayerNorm2D(in_dim), GELU(), DepthwiseConv2D(in_dim, dim, stride=2))
        elif in_dim == dim:
            self.proj = nn.Sequential(nn.Identity())
        else:
            raise ValueError(
                f"downsampling 'c' keeps the channels, but embed_dim goes from {in_dim} to {dim}: use 'sc'"
            )
        self.proj_cls = self.proj

    def forward(self, regional: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        return self.proj_cls(regional), self.proj(local)


class R2LEncoder(nn.Layer):
    """Regional-to-local transformer encoder (Section 3): RSA works between regions, LSA and FFN within each region.

    regional [B, Hr*Wr, C], local [B*Hr*Wr, ws*ws, C] -> the same shapes. RSA and LSA share one attention module.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ws: int,
        mlp_ratio: float,
        qkv_bias: bool,
        qk_scale: float | None,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
    ):
        super().__init__()
        self.norm0 = LayerNorm(dim)
        self.norm1 = LayerNorm(dim)
        self.attn = Attention(dim, num_heads, ws, qkv_bias, qk_scale, attn_drop_rate, drop_rate)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop_rate)
        self.drop_path = DropPath(drop_path_rate)

    def forward(
        self, regional: Tensor, local: Tensor, bias: Tensor, mask: Tensor | None = None, regional_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`regional_only` skips computations for the local tokens alone, and returns None for these tokens."""
        with CastOnce([self.attn.qkv, self.attn.proj, self.mlp.fc1, self.mlp.fc2], regional.dtype):
            return self._encode(regional, local, bias, mask, regional_only)

    def _encode(
        self, regional: Tensor, local: Tensor, bias: Tensor, mask: Tensor | None, regional_only: bool
    ) -> tuple[Tensor, Tensor | None]:
        regions, C = regional.shape[1:]
        y = regional + self.drop_path(self.attn(self.norm0(regional)))  # RSA
        y = paddle.concat([y.reshape([-1, 1, C]), local], axis=1)  # B*Hr*Wr, 1 + ws*ws, C
        z = self.attn(self.norm1(y), bias, mask, queries=1 if regional_only else None)
        z = (y[:, :1] if regional_only else y) + self.drop_path(z)  # LSA
        x = z + self.drop_path(self.mlp(self.norm2(z)))  # FFN
        if regional_only:
            return x.reshape([-1, regions, C]), None
        regional, local = x.split([1, local.shape[1]], axis=1)
        # Both are reshaped, though one has its shape: `recomputed` begins a backward pass at both, and Paddle 2.6 fails
        # where one of the beginnings leads to the other, here to the split.
        return regional.reshape([-1, regions, C]), local.reshape([-1, *local.shape[1:]])


class Stage(nn.Layer):
    """A projection, then R2L encoders over one partition of the local map into windows.

    regional [B, C_in, Hr_in, Wr_in], local [B, C_in, H_in, W_in] -> regional [B, C, Hr, Wr], local [B, C, H, W]
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        ws: int,
        downsampling: str,
        drop_path_rates: list[float],
        peg: bool,
        padding_mask: str,
        recompute: bool,
        **encoder: Any,
    ):
        super().__init__()
        self.ws, self.padding_mask, self.recompute = ws, padding_mask, recompute
        encoders = [R2LEncoder(dim, ws=ws, drop_path_rate=rate, **encoder) for rate in drop_path_rates]
        self.block = nn.LayerList([Projection(in_dim, dim, downsampling), *encoders])
        self.peg = DepthwiseConv2D(dim, dim, bias=False) if peg else None
        self.register_buffer("rel_pos_index", paddle.to_tensor(relative_position_index(ws)), persistable=False)

    def forward(self, regional: Tensor, local: Tensor, regional_only: bool = False) -> tuple[Tensor, Tensor | None]:
        """`regional_only` skips computations for the local map alone, and returns None for this map."""
        regional, local = self.block[0](regional, local)
        grid, size = regional.shape[2:], local.shape[2:]
        mask = None
        if is_padded(grid, size, self.ws):
            mask = padding_mask(grid, size, self.ws, self.padding_mask)
        regional, local = self._to_tokens(regional, local, grid)
        encoders = self.block[1:]
        biases = position_biases([encoder.attn for encoder in encoders], self.rel_pos_index, regional.dtype)
        for i, encoder in enumerate(encoders):
            last = i == len(encoders) - 1 and (self.peg is None or i > 0)  # PEG reads the local tokens
            regional, local = self._encode(encoder, regional, local, biases[i], mask, regional_only and last)
            if self.peg is not None and i == 0:
                regional, local = self._to_maps(regional, local, grid, size)
                regional, local = regional + self.peg(regional), local + self.peg(local)  # PEG
                regional, local = self._to_tokens(regional, local, grid)
        return self._to_maps(regional, local, grid, size)

    def _encode(
        self,
        encoder: R2LEncoder,
        regional: Tensor,
        local: Tensor,
        bias: Tensor,
        mask: Tensor | None,
        regional_only: bool,
    ) -> tuple[Tensor, Tensor | None]:
        # The backward pass begins with the last encoder of the model: recomputing it would save no memory.
        if self.recompute and self.training and paddle.is_grad_enabled() and not regional_only:
            return recomputed(encoder, regional, local, bias, mask)
        return encoder(regional, local, bias, mask, regional_only)

    def _to_tokens(self, regional: Tensor, local: Tensor, grid: Size) -> tuple[Tensor, Tensor]:
        return regional.flatten(2).transpose([0, 2, 1]), partition(local, grid, self.ws)

    def _to_maps(self, regional: Tensor, local: Tensor | None, grid: Size, size: Size) -> tuple[Tensor, Tensor | None]:
        C = regional.shape[-1]
        regional = regional.transpose([0, 2, 1]).reshape([-1, C, *grid])
        return regional, None if local is None else merge(local, grid, size, self.ws)


class RegionViT(nn.Layer):
    """RegionViT: pictures [B, in_chans, height, width] -> logits [B, num_classes], any size from 32 x 32 up.

    Args:
        img_size: the intended size, for information only.
        patch_size: side of a local token's patch in pixels; a regional token's is patch_size * kernel_sizes[0].
        num_classes: 0 omits the head; the output is then features [B, embed_dim[-1]].
        embed_dim: channels of the tokens, then of each stage: one more entry than there are stages.
        depth, num_heads, kernel_sizes, downsampling: one entry per stage: encoders, attention heads, window side (the
            same in all stages, because both maps shrink together), and 'c' (keep) or 'sc' (halve the maps).
        patch_conv_type: '3conv' or '4conv' (patch 4 only), '1conv' or 'linear'.
        peg: positional encoding by a depth-wise convolution after each stage's first encoder.
        det_norm: a LayerNorm2D on each stage's local map, whose output the next stage gets too.
        padding_mask: 'reference' (the one of the official weights) or 'exact'; see `windows.padding_mask`.
        drop_rate, attn_drop_rate, drop_path_rate: dropout on tokens and projections, on attention weights, and
            stochastic depth, which rises linearly to its rate over all encoders.
        recompute: in training, keep only the inputs of encoders and compute the rest again in the backward pass: less
            memory, the same numbers; see `recompute`.

    Attributes:
        computes_in: the type that pictures are cast to, and that the model then computes in (see `precision`); None:
            the type of the pictures.
        feature_channels, feature_strides: one entry per stage, of the maps that `forward_features(detection=True)`
            returns: their channels, and their strides: a side that the last stride divides has side / stride cells.

    Raises:
        ValueError: an impossible shape; the message gives the valid values.
    """

    def __init__(
        self,
        *,
        embed_dim: Sequence[int],
        depth: Sequence[int],
        num_heads: Sequence[int],
        kernel_sizes: Sequence[int],
        downsampling: Sequence[str],
        img_size: int = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        patch_conv_type: str = "3conv",
        peg: bool = False,
        det_norm: bool = False,
        padding_mask: str = "reference",
        recompute: bool = False,
    ):
        super().__init__()
        _check_stages(embed_dim, depth=depth, num_heads=num_heads, kernel_sizes=kernel_sizes, downsampling=downsampling)
        _check_choice("patch_conv_type", patch_conv_type, PATCH_CONVS)
        _check_choice("padding_mask", padding_mask, PADDING_MASKS)
        _check_rates(drop_rate=drop_rate, attn_drop_rate=attn_drop_rate, drop_path_rate=drop_path_rate)
        _check_at_least(1, patch_size=patch_size, in_chans=in_chans)
        _check_at_least(0, num_classes=num_classes)
        if not mlp_ratio > 0:
            raise ValueError(f"mlp_ratio {mlp_ratio}: give a number above 0")
        self.img_size, self.num_classes, self.det_norm = img_size, num_classes, det_norm
        self.computes_in: paddle.dtype | None = None
        self.feature_channels = list(embed_dim[1:])
        self.feature_strides = [patch_size * 2**times for times in accumulate(mode == "sc" for mode in downsampling)]

        self.patch_embed = LocalPatchEmbed(patch_size, in_chans, embed_dim[0], patch_conv_type)
        self.cls_token = RegionalPatchEmbed(patch_size * kernel_sizes[0], in_chans, embed_dim[0])
        self.pos_drop = nn.Dropout(drop_rate)

        rates = iter(np.linspace(0, drop_path_rate, sum(depth)).tolist())
        self.layers = nn.LayerList(
            [
                Stage(
                    embed_dim[i],
                    embed_dim[i + 1],
                    kernel_sizes[i],
                    downsampling[i],
                    [next(rates) for _ in range(depth[i])],
                    peg,
                    padding_mask,
                    recompute,
                    num_heads=num_heads[i],
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    qk_scale=qk_scale,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                )
                for i in range(len(depth))
            ]
        )
        self.norm = LayerNorm(embed_dim[-1])
        self.head = Linear(embed_dim[-1], num_classes) if num_classes else nn.Identity()
        if det_norm:
            for i, dim in enumerate(embed_dim[1:]):
                setattr(self, f"norm{i}", LayerNorm2D(dim))

    def forward_features(self, x: Tensor, detection: bool = False) -> Tensor | list[Tensor]:
        """Return the mean regional token [B, embed_dim[-1]]; with `detection`, each stage's local map [B, C, H, W]."""
        if self.computes_in is not None:
            x = as_type(x, self.computes_in)
        regional, local = self.cls_token(x), self.pos_drop(self.patch_embed(x))
        maps = []
        for i, stage in enumerate(self.layers):
            regional_only = not detection and i == len(self.layers) - 1  # the last local map is then unused
            regional, local = stage(regional, local, regional_only)
            if self.det_norm and local is not None:
                local = getattr(self, f"norm{i}")(local)
            maps.append(local)
        if detection:
            return maps
        return self.norm(regional.flatten(2).transpose([0, 2, 1])).mean(axis=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.forward_features(x))


def _check_stages(embed_dim: Any, **per_stage: Any) -> None:
    for name, values in {"embed_dim": embed_dim, **per_stage}.items():
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f"{name} {values!r}: give a list with an entry for each stage")
    lengths = {name: len(values) for name, values in per_stage.items()}
    if len(embed_dim) != len(per_stage["depth"]) + 1 or len(set(lengths.values())) != 1:
        raise ValueError(
            f"embed_dim has {len(embed_dim)} entries and {lengths}: "
            "give each of these one entry per stage, and embed_dim one more"
        )
    counts = {name: per_stage[name] for name in ("depth", "num_heads", "kernel_sizes")}
    _check_at_least(1, embed_dim=embed_dim, **counts)
    if len(set(per_stage["kernel_sizes"])) != 1:
        raise ValueError(f"kernel_sizes {list(per_stage['kernel_sizes'])}: give every stage the same window size")
    for mode in per_stage["downsampling"]:
        _check_choice("downsampling", mode, DOWNSAMPLINGS)


def _check_rates(**rates: Any) -> None:
    for name, rate in rates.items():
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ValueError(f"{name} {rate!r}: give a rate of at least 0 and below 1")


def _check_at_least(low: int, **counts: Any) -> None:
    for name, value in counts.items():
        entries = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(entry, int) and entry >= low for entry in entries):
            shown = list(value) if isinstance(value, tuple) else value
            raise ValueError(f"{name} {shown!r}: give whole numbers of {low} or more")


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} {value!r} is unknown: choose one of {', '.join(choices)}")
