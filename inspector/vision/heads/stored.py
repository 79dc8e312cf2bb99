"""Reads numbers and tensors of a stored head, and checks them.

A file that was made elsewhere may be undamaged and still hold nonsense: with a weight that is not a number, every part
would pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ArtifactError


def finite(stored: object) -> float:
    """A number from a manifest. Raises TypeError for other types; `float` would also accept the text "nan"."""
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        raise TypeError(f"{stored!r} is no number")
    return float(stored)


def floats(array: NDArray[Any]) -> NDArray[np.float32]:
    """The same tensor. Raises ArtifactError where one of its numbers is not finite."""
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ArtifactError("The artifact holds numbers that are not finite 32-bit floats.")
    return array
