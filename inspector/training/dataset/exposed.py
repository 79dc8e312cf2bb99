"""Brings prepared canvases to another exposure when they are read, so that no frame is prepared twice to try one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from inspector.vision.images.exposure import Exposure, expose
from inspector.vision.images.preparation import Preparation

Canvas = NDArray[np.uint8]


class Exposed(Sequence[Canvas]):
    """`canvases`, uint8 [Hc, Wc, 3] each, were prepared with the exposure `as_is` and otherwise by `preparation`."""

    def __init__(self, canvases: Sequence[Canvas], preparation: Preparation, exposure: Exposure) -> None:
        self._canvases = canvases
        self._exposure = exposure
        self._is_masked = preparation.mask is not None

    def __len__(self) -> int:
        return len(self._canvases)

    @overload
    def __getitem__(self, index: int) -> Canvas: ...
    @overload
    def __getitem__(self, index: slice) -> list[Canvas]: ...
    def __getitem__(self, index: int | slice) -> Canvas | list[Canvas]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return expose(self._canvases[index], self._exposure, is_masked=self._is_masked)
