"""A registry in memory, for tests of the road and of the command line. It passes the suite of the SQL registry.

Artifacts may be any bytes: only their digest is checked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Any, Self

from inspector.config.section import NAME_PATTERN
from inspector.domain import (
    ENROLLED_HERE,
    ExportedGraph,
    LiveSet,
    ProductVersion,
    Provenance,
    Signature,
    TrustedKey,
    content_name,
    key_in,
)
from inspector.errors import ArtifactError, RegistryError, UsageError
from inspector.ports import Clock
from inspector.testing.clock import FakeClock

Numbered = tuple[str, int]
"""A product and one of its version numbers."""


class InMemoryRegistry:
    """The port `Registry` on dicts; `audit` holds (user, object, old, new, reason) of every change."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.audit: list[tuple[str, str, str | None, str | None, str]] = []
        self.artifacts: dict[Numbered, bytes] = {}
        self.graphs: dict[str, ExportedGraph] = {}
        self.keys: tuple[TrustedKey, ...] = ()
        self._graph_digests: dict[str, str] = {}
        self._clock = clock or FakeClock()
        self._versions: dict[Numbered, ProductVersion] = {}
        self._live: dict[str, int | None] = {}
        self._shadow: dict[str, int] = {}
        self._before: dict[str, list[int]] = {}
        self._revision = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def revision(self) -> str:
        return f"r{self._revision}"

    async def live(self) -> LiveSet:
        versions = await self.products()
        return LiveSet(
            revision=f"r{self._revision}",
            versions=tuple(version for version in versions if version.is_live),
            shadows=tuple(version for version in versions if version.is_shadow),
        )

    async def products(self) -> list[ProductVersion]:
        return [self._marked(key) for key in sorted(self._versions)]

    async def artifact(self, product: str, version: int) -> bytes:
        found = self._found(product, version)
        artifact = self.artifacts[product, version]
        if hashlib.sha256(artifact).hexdigest() != found.digest:
            raise ArtifactError(f"The artifact of {product} version {version} is damaged; enrol it again.")
        return artifact

    async def graph_keys(self) -> frozenset[str]:
        digests = self._graph_digests.items()
        return frozenset(self.graphs) | {content_name(key_in(stored)[0], sha256) for stored, sha256 in digests}

    async def graph(self, name: str) -> ExportedGraph | None:
        key, sha256 = key_in(name)
        for stored in (name, key):
            found = self.graphs.get(stored)
            if found is None or sha256 not in ("", self._graph_digests[stored]):
                continue
            if found.sha256 != self._graph_digests[stored]:
                raise ArtifactError(f"The graph {key} is damaged.")
            return found
        return None

    async def add_graph(self, graph: ExportedGraph, *, is_apart: bool = False) -> None:
        name = content_name(graph.key, graph.sha256)
        for stored in (name,) if is_apart else (graph.key, name):
            kept = self.graphs.get(stored)
            if kept is None or kept.sha256 != self._graph_digests[stored]:
                self.graphs[stored], self._graph_digests[stored] = graph, graph.sha256
                return
            if kept.sha256 == graph.sha256:
                return

    async def add_version(
        self,
        product: str,
        artifact: bytes,
        manifest: dict[str, Any],
        *,
        by: str,
        activate: bool,
        shadow: bool = False,
        provenance: Provenance = ENROLLED_HERE,
    ) -> ProductVersion:
        if not re.fullmatch(NAME_PATTERN, product):
            raise UsageError(f"{product!r} can't name a product; use letters, digits, '_', '.' and '-'.")
        if activate and shadow:
            raise UsageError("A version can't be live and shadow at once; choose one.")
        number = 1 + max((version for name, version in self._versions if name == product), default=0)
        self._versions[product, number] = ProductVersion(
            product=product,
            version=number,
            head=manifest["head"],
            profile=manifest.get("profile", "standard"),
            digest=hashlib.sha256(artifact).hexdigest(),
            size_bytes=len(artifact),
            created_at=self._clock.now(),
            created_by=by,
            manifest=dict(manifest),
            threshold=float(manifest["threshold"]),
            signature=provenance.signature,
        )
        self.artifacts[product, number] = bytes(artifact)
        self.audit.append((by, f"product/{product}", None, f"version {number}", "enrolled"))
        if activate:
            self._point(product, number, by, provenance.reason)
        if shadow:
            self._shadow[product] = number
            self._revision += 1
        return self._marked((product, number))

    async def signing_keys(self) -> tuple[TrustedKey, ...]:
        return self.keys

    async def sign(
        self,
        product: str,
        version: int,
        signature: Signature,
        *,
        by: str,
        reason: str,
        of_threshold: Signature | None = None,
    ) -> ProductVersion:
        before = self._found(product, version)
        self._versions[product, version] = dataclasses.replace(
            before, signature=signature, threshold_signature=of_threshold
        )
        self._revision += 1
        old = None if before.signature is None else before.signature.key
        self.audit.append((by, f"product/{product}/version {version}/signature", old, signature.key, reason))
        return self._marked((product, version))

    async def activate(self, product: str, version: int, *, by: str, reason: str) -> ProductVersion:
        self._found(product, version)
        if self._live.get(product) != version:
            self._point(product, version, by, reason)
        return self._marked((product, version))

    async def rollback(self, product: str, *, by: str, reason: str) -> ProductVersion:
        self._known(product)
        if not self._before.get(product):
            live = self._live.get(product)
            if live is None:
                raise RegistryError(f"No version of {product} was live so far; activate one.")
            raise RegistryError(f"Version {live} of {product} is live, and there is no earlier one to go back to.")
        version = self._before[product].pop()
        self._move(product, version, by, reason)
        return self._marked((product, version))

    async def move_threshold(
        self,
        product: str,
        version: int,
        threshold: float,
        *,
        by: str,
        reason: str,
        signature: Signature | None = None,
    ) -> ProductVersion:
        found = self._found(product, version)
        if found.threshold != threshold:
            self._versions[product, version] = dataclasses.replace(
                found, threshold=threshold, threshold_signature=signature
            )
            self._revision += 1
            what = f"product/{product}/version {version}/threshold"
            self.audit.append((by, what, f"{found.threshold:.6g}", f"{threshold:.6g}", reason))
        return self._marked((product, version))

    async def set_shadow(self, product: str, version: int | None, *, by: str, reason: str) -> ProductVersion | None:
        self._known(product)
        if version is not None:
            self._found(product, version)
            if self._live.get(product) == version:
                raise RegistryError(f"Version {version} of {product} is live; a shadow is another version.")
        old = self._shadow.pop(product, None)
        if version is not None:
            self._shadow[product] = version
        if old != version:
            self._revision += 1
            self.audit.append((by, f"product/{product}/shadow", _named(old), _named(version), reason))
        return None if version is None else self._marked((product, version))

    async def remove(self, product: str, *, by: str, reason: str) -> None:
        self._known(product)
        if self._live.get(product) is None and product not in self._shadow:
            raise RegistryError(f"{product} is not live; nothing to remove.")
        self._shadow.pop(product, None)
        self._point(product, None, by, reason)

    def _point(self, product: str, version: int | None, by: str, reason: str) -> None:
        if (live := self._live.get(product)) is not None:
            self._before.setdefault(product, []).append(live)
        self._move(product, version, by, reason)

    def _move(self, product: str, version: int | None, by: str, reason: str) -> None:
        old = self._live.get(product)
        self._live[product] = version
        if version is not None and self._shadow.get(product) == version:
            del self._shadow[product]
        self._revision += 1
        self.audit.append((by, f"product/{product}/live", _named(old), self._described(product, version), reason))

    def _described(self, product: str, version: int | None) -> str | None:
        if version is None:
            return None
        names = {key.fingerprint: key.name for key in self.keys}
        return self._versions[product, version].told_live(names, None)

    def _known(self, product: str) -> None:
        if not any(name == product for name, _ in self._versions):
            raise RegistryError(f"There is no product {product}; `inspector products list` shows what there is.")

    def _found(self, product: str, version: int) -> ProductVersion:
        self._known(product)
        if (product, version) not in self._versions:
            raise RegistryError(f"{product} has no version {version}; `inspector products show {product}` lists them.")
        return self._versions[product, version]

    def _marked(self, key: Numbered) -> ProductVersion:
        product, version = key
        return dataclasses.replace(
            self._versions[key],
            is_live=self._live.get(product) == version,
            is_shadow=self._shadow.get(product) == version,
        )


def _named(version: int | None) -> str | None:
    return None if version is None else f"version {version}"
