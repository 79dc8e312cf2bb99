"""An exported graph: one pass of a backbone as bytes that an engine can load without the backbone's own software."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """The ONNX bytes of a pass. `key`: names the computation, 16 hex digits.

    `described`: the backbone, its weights' digest, input size and embeddings that the graph computes. `exporter`: the
    version of the code that exported it. `versions`: package -> version that made it.
    """

    key: str
    content: bytes
    described: Mapping[str, Any]
    exporter: int
    versions: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Of the content, hex."""
        return hashlib.sha256(self.content).hexdigest()


def content_name(key: str, sha256: str) -> str:
    """The name of the graph of this key that has this content. Its key alone names the first one that was kept."""
    return f"{key}.{sha256}"


def key_in(name: str) -> tuple[str, str]:
    """The key in the name of a graph, and its SHA-256; empty where the name is a key alone."""
    key, _, sha256 = name.partition(".")
    return key, sha256
