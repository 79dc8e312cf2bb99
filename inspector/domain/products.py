"""Enrolled versions of products, as the registry names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from inspector.domain.signatures import Signature


@dataclass(frozen=True, slots=True)
class ProductVersion:
    """One enrolled version in the registry, without the bytes of its artifact. Only `threshold` may change.

    `signature`: over the version as it was enrolled, None if it is unsigned. `threshold_signature`: over a threshold
    that was moved since.
    """

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
    signature: Signature | None = None
    threshold_signature: Signature | None = None

    def told_live(self, names: Mapping[str, str], origin: str | None) -> str:
        """What the audit says when it goes live, for example "version 2: threshold 1.25, unsigned, enrolled here".

        `names`: of keys by fingerprint. `origin`: where an imported version came from.
        """
        enrolled, signature = self.manifest.get("threshold"), self.signature
        judged_by = f"threshold {self.threshold:.6g}"
        if isinstance(enrolled, int | float) and enrolled != self.threshold:
            judged_by += f" (enrolled with {enrolled:.6g})"
        signer = "unsigned" if signature is None else f"signed by {names.get(signature.key, f'key {signature.key}')}"
        come_from = f"from {origin}" if origin else "enrolled here"
        return f"version {self.version}: {judged_by}, {signer}, {come_from}"


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a version came to the registry. `reason`: for the audit, of a pointer that moves to it at once.

    `origin`: the file of an imported version and the checks that it passed; `origin_reason`: the person's word on it.
    """

    reason: str = "enrolled"
    signature: Signature | None = None
    origin: str | None = None
    origin_reason: str = ""


ENROLLED_HERE: Final = Provenance()


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
