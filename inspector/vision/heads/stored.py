"""Numbers and tensors of a stored head, checked as they are read.

Bytes that were made elsewhere may be whole and still say nonsense: a weight that is no number would pass every part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ArtifactError


def finite(stored: object) -> float:
    """The number that stands in a manifest; `float` would also take the text "nan". Raises TypeError."""
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        raise TypeError(f"{stored!r} is no number")
    return float(stored)


def floats(array: NDArray[Any]) -> NDArray[np.float32]:
    """The tensor itself, once all its numbers are known to be finite. Raises ArtifactError."""
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ArtifactError("The artifact holds numbers that are not finite 32-bit floats.")
    return array
