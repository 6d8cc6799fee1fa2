"""RegionViT without its head: the maps of its stages, for libraries that detect and segment.

Nothing here imports such a library.
"""

import re
from collections.abc import Sequence
from typing import Any

from paddle import Tensor, nn

from common.errors import InputError
from engine.errors import UserError
from engine.weights import pdparams, resample
from engine.weights.pdparams import CheckpointError
from models import build_model
from models.names import OF_CLASSIFIERS

NEW_NORM = re.compile(r"norm\d+\.(weight|bias)")  # of `det_norm`, which weights of a classifier lack


class Backbone(nn.Layer):
    """Maps of stages: [B, in_chans, height, width] -> a list of [B, channels[i], H_i, W_i], one per `return_idx`.

    A side of a map is that of the picture divided by strides[i]; sides that do not divide are rounded up.

    Args:
        variant: a key of `models.VARIANTS`, or "regionvit" for a free architecture that `architecture` describes.
        return_idx: the stages whose maps are returned, from 0, in rising order.
        frozen_stages: -1 freezes nothing, 0 the patch embeddings, n the first n stages too: their parameters never
            change, and they compute as in evaluation.
        pretrained: a file of weights to start from: of a run, or of tools/convert_weights.py.
        pretrained_resample: accept weights of another window size or without PEG; see `engine.weights.resample`.
        architecture: keyword arguments of `RegionViT`, such as det_norm, padding_mask, drop_path_rate, recompute.

    Attributes:
        channels, strides: one entry per map.
        notes: lines for a log: what was loaded.

    Raises:
        UserError: an impossible value, or weights that do not fit.
    """

    def __init__(
        self,
        variant: str,
        return_idx: Sequence[int],
        frozen_stages: int = -1,
        pretrained: str | None = None,
        pretrained_resample: bool = False,
        **architecture: Any,
    ):
        super().__init__()
        for key, given, kind in (
            ("pretrained", pretrained or "", str),
            ("pretrained_resample", pretrained_resample, bool),
        ):
            if not isinstance(given, kind):
                raise UserError(f"{key} {given!r}: expected a {kind.__name__}", key=key, value=given)
        try:
            self.model = build_model(variant, **{**architecture, "num_classes": 0})
        except ValueError as error:
            raise UserError(f"RegionViT: {error}", key="variant", value=variant) from error
        stages = len(self.model.layers)
        self.return_idx = _checked_indices(return_idx, stages)
        self.model.norm = nn.Identity()  # of the mean regional token; processes that train together await its gradient
        self.channels = [self.model.feature_channels[i] for i in self.return_idx]
        self.strides = [self.model.feature_strides[i] for i in self.return_idx]
        self.notes = load(self.model, pretrained, pretrained_resample) if pretrained else []
        self.frozen = self._freeze(frozen_stages)

    def _freeze(self, count: int) -> list[nn.Layer]:
        """Freeze parameters and return the layers they belong to, which `forward` keeps in evaluation mode."""
        stages = self.model.layers
        if isinstance(count, bool) or not isinstance(count, int) or not -1 <= count <= len(stages):
            raise UserError(
                f"frozen_stages {count!r}: give -1 (none), 0 (the patch embeddings) or up to {len(stages)} stages",
                key="frozen_stages",
                value=count,
            )
        parts = [self.model.patch_embed, self.model.cls_token, self.model.pos_drop] if count >= 0 else []
        for i in range(count):
            parts += [stages[i], getattr(self.model, f"norm{i}", nn.Identity())]
        for part in parts:
            for parameter in part.parameters():
                parameter.stop_gradient = True
        return [layer for part in parts for layer in part.sublayers(include_self=True)]

    def forward(self, pictures: Tensor) -> list[Tensor]:
        for layer in self.frozen:
            layer.training = False  # `train()` of any layer above sets it, without a call of a method here
        maps = self.model.forward_features(pictures, detection=True)
        return [maps[i] for i in self.return_idx]


def load(model: nn.Layer, file: str, resampling: bool = False) -> list[str]:
    """Load the weights of a classifier or of a backbone from a file into a model without head.

    The norms of `det_norm` keep their initialization if the file has none.

    Returns:
        lines for a log.

    Raises:
        CheckpointError: the file is missing, damaged or does not fit the model, which is unchanged then.
    """
    try:
        arrays = pdparams.first_names(pdparams.read(file), file)
        pdparams.check_finite(arrays, file)
    except InputError as error:
        raise CheckpointError(f"pretrained: {error}", key="pretrained", value=file, place=file) from error
    expected = dict(model.named_parameters())
    unused = [key for key in arrays if key.startswith(OF_CLASSIFIERS)]
    arrays = {key: array for key, array in arrays.items() if key not in unused}
    new = [key for key in expected if NEW_NORM.fullmatch(key)]
    if any(key in arrays for key in new):
        new = []
    expected = {key: parameter for key, parameter in expected.items() if key not in new}
    fitted, lines = resample.fit(arrays, expected)
    if problems := pdparams.misfits(fitted if resampling else arrays, expected):
        hint = "" if pdparams.misfits(fitted, expected) else ", or pretrained_resample: true, which makes them fit"
        raise CheckpointError(
            f"pretrained: {file} does not fit the model: {pdparams.described(problems)}; "
            f"give the variant that these weights are of{hint}",
            key=pdparams.first_key(problems),
            value=file,
            place=file,
        )
    pdparams.assign(expected, fitted)
    return [
        f"Weights: {len(expected)} arrays from {file}",
        *([f"{pdparams.listed(unused)}: in the file, not used here"] if unused else []),
        *(lines if resampling else []),
        *([f"{pdparams.listed(new)}: newly initialized: not in the file"] if new else []),
    ]


def _checked_indices(indices: Any, stages: int) -> list[int]:
    values = list(indices) if isinstance(indices, list | tuple) else []
    possible = all(type(i) is int and 0 <= i < stages for i in values)
    if not values or not possible or values != sorted(set(values)):
        raise UserError(
            f"return_idx {indices!r}: give a list of stages in rising order, from 0 to {stages - 1}",
            key="return_idx",
            value=indices,
        )
    return values
