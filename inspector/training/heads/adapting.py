"""Adapts embeddings to the strides that a backbone has, without assumptions about its layers.

This module imports no torch, because the caller passes the strides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from inspector.errors import UsageError
from inspector.vision.networks.graphs import Embedding


def nearest_embedding(embedding: Embedding, strides: Sequence[int]) -> Embedding:
    """The same embedding with each stride replaced by the backbone's nearest stride, measured in octaves."""

    def nearest(stride: int) -> int:
        return min(strides, key=lambda other: (abs(math.log(other / stride)), other))

    own = tuple(sorted({nearest(stride) for stride in embedding.strides}))
    return replace(embedding, strides=own, grid_stride=nearest(embedding.grid_stride))


def whole_size(embeddings: Sequence[Embedding], size_px: int) -> int:
    """The largest side up to `size_px` that every stride and grid divides (256 px becomes 252 at a patch of 14)."""
    unit = _unit(embeddings)
    return max(unit, size_px // unit * unit)


def ensure_size(embeddings: Sequence[Embedding], size_px: int, backbone: str) -> None:
    """Raises UsageError if the side of the input is not a multiple of each stride and grid cell."""
    unit = _unit(embeddings)
    if size_px % unit:
        raise UsageError(f"With {backbone} the input's side must be a multiple of {unit} pixels.")


def ensure_strides(head: str, embeddings: Sequence[Embedding], strides: Sequence[int], backbone: str) -> None:
    """Raises UsageError if the backbone lacks a stride that the head needs."""
    wanted = {stride for embedding in embeddings for stride in embedding.strides}
    if wanted - set(strides):
        raise UsageError(
            f"The {head} head needs features at strides {_listed(wanted)}; {backbone} has {_listed(strides)}. "
            "Choose another head."
        )


def _unit(embeddings: Sequence[Embedding]) -> int:
    """A side that every stride and grid divides."""
    return math.lcm(*(stride for item in embeddings for stride in (*item.strides, item.grid_stride)))


def _listed(strides: Sequence[int] | set[int]) -> str:
    return ", ".join(str(stride) for stride in sorted(strides))
