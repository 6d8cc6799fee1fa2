"""RegionViT as a backbone of PaddleDetection: importing this module registers it under the name `RegionViT`.

    import integrations.paddledet
    create("RegionViT")         # or, in a config, `backbone: RegionViT`

Never put the folder of this file on `sys.path`: `paddleseg.py` beside it would hide the package of that name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor
from PIL import ImageFile
from ppdet.core.workspace import register, serializable
from ppdet.modeling import post_process
from ppdet.modeling.proposal_generator import rpn_head, target
from ppdet.modeling.shape_spec import ShapeSpec
from ppdet.utils.logger import setup_logger

from integrations.backbone import Backbone

logger = setup_logger(__name__)
ImageFile.LOAD_TRUNCATED_IMAGES = False  # PaddleDetection sets it: Pillow would read half a picture as a whole one


class PaddleOf24:
    """Paddle, whose `concat` takes scalars as vectors of one element.

    PaddleDetection 2.6.0 is written for Paddle 2.4, where an element of a vector was such a vector itself. From 2.5 on
    it is a scalar, which `paddle.concat` refuses.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(paddle, name)

    @staticmethod
    def concat(x: Sequence[Tensor], axis: int = 0, name: str | None = None) -> Tensor:
        return paddle.concat([tensor.reshape([1]) if tensor.ndim == 0 else tensor for tensor in x], axis, name)


for module in (rpn_head, target, post_process):  # of Faster and Mask R-CNN, which else fail in their first step
    module.paddle = PaddleOf24()


@register
@serializable
class RegionViT(Backbone):
    """RegionViT for PaddleDetection: {"image": [B, 3, height, width], ...} -> maps of `return_idx`; see `Backbone`.

    Where a side is not a multiple of the coarsest stride, zeros are added on the right and below, as PaddleDetection's
    `PadBatch` does: its FPN adds each map to the next finer one, whose sides it takes to be exactly twice as long.
    """

    def __init__(
        self,
        variant: str = "regionvit_tiny_224",
        return_idx: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        pretrained: str | None = None,
        pretrained_resample: bool = False,
        **architecture: Any,
    ):
        super().__init__(variant, return_idx, frozen_stages, pretrained, pretrained_resample, **architecture)
        for note in self.notes:
            logger.info(note)

    @property
    def out_shape(self) -> list[ShapeSpec]:
        return [
            ShapeSpec(channels=channels, stride=stride)
            for channels, stride in zip(self.channels, self.strides, strict=True)
        ]

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        pictures, stride = inputs["image"], self.strides[-1]
        below, right = (-side % stride for side in pictures.shape[2:])
        return super().forward(F.pad(pictures, [0, right, 0, below]) if below or right else pictures)
