"""Describes a whole frame by each channel's mean and spread over its patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inspector.vision.engines.protocols import Patches


def pooled(patches: Patches) -> Patches:
    """[B, P, C] -> [B, 1, 2 C]: mean and standard deviation of each channel. Each frame is described by itself."""
    if isinstance(patches, np.ndarray):
        return np.stack([_described(frame) for frame in patches])
    import torch  # only tensors get here, so torch is loaded already

    return torch.stack([torch.cat([frame.mean(0), frame.std(0, correction=0)])[None] for frame in patches])


def _described(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """[P, C] -> [1, 2 C]. Sums over rows by a matrix product, because NumPy's own take ten times as long."""
    share = np.full(len(frame), 1.0 / len(frame), np.float32)
    mean = share @ frame
    squares = frame - mean
    np.multiply(squares, squares, out=squares)
    return np.concatenate([mean, np.sqrt(share @ squares)])[None].astype(np.float32)
