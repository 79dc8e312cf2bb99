"""Enrolled versions of products, as the registry names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ProductVersion:
    """One enrolled version in the registry, without the bytes of its artifact. Only `threshold` may change."""

    product: str
    version: int
    head: str
    profile: str
    digest: str
    size_bytes: int
    created_at: datetime
    created_by: str
    manifest: Mapping[str, Any]
    threshold: float
    is_live: bool = False
    is_shadow: bool = False


@dataclass(frozen=True, slots=True)
class LiveSet:
    """Which version of each product is live; `revision` changes with every activation.

    `shadows` are stored beside the live versions and never decide.
    """

    revision: str
    versions: tuple[ProductVersion, ...]
    shadows: tuple[ProductVersion, ...] = ()

    @property
    def needed(self) -> tuple[ProductVersion, ...]:
        """All versions that an agent loads: those that decide, and the shadows, which are one per product at most."""
        return (*self.versions, *self.shadows)

    @property
    def routable(self) -> tuple[ProductVersion, ...]:
        """One version of each product that the router may recognise: the live version, else the shadow version.

        A frame of a product with only a shadow version is recognised as not released, and is not judged.
        """
        live = {version.product for version in self.versions}
        return (*self.versions, *(shadow for shadow in self.shadows if shadow.product not in live))
