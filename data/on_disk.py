"""Pictures of a folder that stay on disk until they are asked for, where memory should not grow with their number."""

import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from . import pictures


class PicturesOnDisk(Sequence[np.ndarray]):
    """Stands in for an array uint8 [N, side, side, 3] that is only read.

    A number gives a picture, a slice pictures that are still on disk, any other index an array. `np.asarray` decodes
    all, in threads.

    Raises:
        PictureError: on access: a file has changed since it was checked, and cannot be read.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, files: Sequence[Path], side: int):
        self.files, self.side = files, side

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.files), self.side, self.side, 3

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return PicturesOnDisk(self.files[index], self.side)
        chosen = np.arange(len(self))[index]
        if chosen.ndim == 0:
            file = self.files[chosen]
            return pictures.to_side(pictures.decode(pictures.content(file), file), self.side)
        return np.asarray(PicturesOnDisk([self.files[i] for i in chosen], self.side))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        decoded = np.empty(self.shape, np.uint8)
        # Warning filters belong to the process: see `data.folder`.
        with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as threads:
            warnings.simplefilter("ignore")
            for i, picture in enumerate(threads.map(self.__getitem__, range(len(self)))):
                decoded[i] = picture
        return decoded if dtype is None else decoded.astype(dtype, copy=False)
