"""What is signed of a version: its artifact and its graphs, and a threshold that a person moved.

The digest binds all bytes of the artifact: the head, its anchors, preparation, calibration and probes. The statement
adds what stands beside the artifact and judges too: the product's name, the threshold and the exported graphs. The
number of a version is bound by neither, because another line counts its versions by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from inspector.domain import ExportedGraph, ProductVersion, Signature
from inspector.signing.keys import SecretKey

_DOMAIN: Final = b"inspector version statement 1\n"
"""Stands before each statement, so that a signature over it is of use nowhere else."""

MOST_STATEMENT_CHARS: Final = 64 * 1024

CAME_WITH: Final = "came_with"
"""The key of the SHA-256 of each graph in the file of an imported version, in the registry's copy of its manifest."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NONE_HAS_IT: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class VersionStatement:
    """A version as it was enrolled. `graphs`: the SHA-256 of each exported graph that came with it, by key."""

    product: str
    digest: str
    threshold: float
    graphs: Mapping[str, str]

    @classmethod
    def of(cls, product: str, digest: str, threshold: float, graphs: Iterable[ExportedGraph] = ()) -> Self:
        return cls(product, digest, threshold, {graph.key: graph.sha256 for graph in graphs})

    def to_text(self) -> str:
        return _text("version", self.product, self.digest, self.threshold, graphs=dict(self.graphs))


@dataclass(frozen=True, slots=True)
class ThresholdStatement:
    """A threshold that a person moved. `approved_by`: who agreed; None where nobody else had to."""

    product: str
    digest: str
    threshold: float
    by: str
    approved_by: str | None = None

    def to_text(self) -> str:
        return _text("threshold", self.product, self.digest, self.threshold, by=self.by, approved_by=self.approved_by)


def signed(statement: VersionStatement | ThresholdStatement, key: SecretKey) -> Signature:
    """The statement, signed."""
    text = statement.to_text()
    return Signature(key.public.fingerprint, text, key.sign(signed_bytes(text)))


def signed_bytes(statement: str) -> bytes:
    """The bytes that are signed for a statement."""
    return _DOMAIN + statement.encode("utf-8", "surrogatepass")


def says(signature: Signature, what: str) -> Mapping[str, Any]:
    """The members of a signed statement of this kind; empty where it is another, or no statement at all."""
    if len(signature.statement) > MOST_STATEMENT_CHARS:
        return {}
    try:
        found = json.loads(signature.statement)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("what") == what else {}


def signed_graphs(signature: Signature) -> Mapping[str, str]:
    """The SHA-256 of each graph that the statement of a version names, by key."""
    graphs = says(signature, "version").get("graphs")
    return graphs if isinstance(graphs, dict) else {}


def bound_graphs(version: ProductVersion) -> dict[str, str]:
    """The SHA-256 that the graphs of a version must have, by key: as its file brought them, or rather as signed.

    A graph that neither names is not bound.
    """
    came_with = version.manifest.get(CAME_WITH)
    named: dict[Any, Any] = dict(came_with) if isinstance(came_with, dict) else {}
    signature = version.signature
    if signature is not None and says(signature, "version").get("digest") == version.digest:
        named |= signed_graphs(signature)
    # What is no digest can be no graph's; it must not become part of a file's name.
    return {str(key): value if _is_sha256(value) else _NONE_HAS_IT for key, value in named.items()}


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _text(what: str, product: str, digest: str, threshold: float, **more: Any) -> str:
    """Equal statements have equal texts. The threshold is written so that it reads back to the same number."""
    return json.dumps(
        {"what": what, "product": product, "digest": digest, "threshold": threshold, **more}, sort_keys=True
    )
