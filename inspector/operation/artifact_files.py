"""Writes and reads exported versions as files, which are carried from one line to another.

A file is written with its digest. It is read only up to a size, checked for damage, and checked to be loadable.

The file ends with the SHA-256 of the artifact. FILE.sha256 beside it has the SHA-256 of the whole file, for sha256sum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inspector.domain import ExportedGraph, Signature, printable
from inspector.errors import ArtifactError, UsageError
from inspector.files import write_whole
from inspector.text import decoded
from inspector.vision.artifacts.envelope import Sealed, read_artifact_file, read_bounded, seal, unseal
from inspector.vision.artifacts.format import read_manifest, unpack
from inspector.vision.artifacts.thresholds import EnrolledThreshold
from inspector.vision.networks.graphs import ensure_plain
from inspector.vision.serving.needed_graphs import needed_graphs

MOST_DIGEST_BYTES: Final = 4096
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class OfferedVersion:
    """A version in a file, which can be loaded. `origin`: the file's name and the checks it passed, for the audit.

    `graphs`: the exported graphs in the file that the version needs and this software can run. `signature`: the one in
    the file, not checked yet. `name`: the file's path, for people. `is_trusted`: a person takes the version even where
    nothing vouches for it.
    """

    product: str
    artifact: bytes
    digest: str
    manifest: dict[str, Any]
    origin: str
    graphs: tuple[ExportedGraph, ...] = ()
    signature: Signature | None = None
    is_trusted: bool = False
    name: str = "The file"

    @property
    def threshold(self) -> float:
        """The threshold that agents would judge by."""
        return float(self.manifest["threshold"])


def digest_file(path: Path) -> Path:
    """The path of the file that holds the SHA-256 of `path`."""
    return path.with_name(f"{path.name}.sha256")


def write_artifact(
    path: Path,
    artifact: bytes,
    graphs: Sequence[ExportedGraph] = (),
    *,
    overwrites: bool,
    signature: Signature | None = None,
) -> str:
    """Writes the artifact with its graphs, its signature and its digest, and FILE.sha256. Returns the file's SHA-256.

    Raises UsageError where a file is in the way or can't be written.
    """
    content = seal(artifact, graphs, signature)
    sha256 = hashlib.sha256(content).hexdigest()
    _write(path, content, overwrites)
    _write(digest_file(path), f"{sha256}  {path.name}\n".encode("utf-8", "surrogateescape"), overwrites=True)
    return sha256


def read_artifact(path: Path, sha256: str | None = None, *, is_trusted: bool = False) -> OfferedVersion:
    """The version in a file. `sha256`: the file's SHA-256 as a person knows it; `is_trusted`: it need not be checked.

    Raises UsageError where the file is not an exported version or has no digest to check, ArtifactError where it is
    damaged or can't be loaded.
    """
    name = printable(str(path))
    try:
        content = read_artifact_file(path)
        sealed = unseal(content)
        checks = _checks(path, sealed, sha256)
        if not checks and not is_trusted:
            raise UsageError(
                f"Nothing says whether {name} was damaged on its way: it does not end with its SHA-256, as `products "
                f"export` writes it, and there is no readable {printable(digest_file(path).name)}; give --sha256, or "
                "--trust it with a --reason."
            )
        artifact = unpack(sealed.artifact)  # all of it, so that nothing is taken in that no agent could load
        manifest = read_manifest(sealed.artifact)
        _ensure_number(manifest)
        EnrolledThreshold.of(manifest)  # what a threshold is shown and moved by
        graphs = _usable(sealed.graphs, manifest)
    except ArtifactError as error:
        raise ArtifactError(f"{name} can't be imported: {error}") from error
    checked = f"checked by {', '.join(checks)}" if checks else "trusted, not checked"
    origin = f"{printable(path.name)}, {checked}"
    return OfferedVersion(
        product=artifact.product,
        artifact=sealed.artifact,
        digest=sealed.artifact_sha256,
        manifest=manifest,
        origin=origin,
        graphs=graphs,
        signature=sealed.signature,
        is_trusted=is_trusted,
        name=name,
    )


def _usable(graphs: Sequence[ExportedGraph], manifest: Mapping[str, Any]) -> tuple[ExportedGraph, ...]:
    """The graphs that the version needs. Those of another software have other keys. Raises ArtifactError."""
    needed = needed_graphs([manifest])
    usable = tuple(graph for graph in graphs if graph.key in needed)
    for graph in usable:
        ensure_plain(graph)
    return usable


def _checks(path: Path, sealed: Sealed, sha256: str | None) -> list[str]:
    """The digests that the file was checked by.

    Raises ArtifactError where a digest does not match the file, UsageError where `sha256` is not a digest.
    """
    checks = ["the SHA-256 at its end"] if sealed.is_sealed else []
    beside = digest_file(path)
    if (digest := _digest_in(beside)) is not None:
        if not sealed.has_digest(digest):
            raise ArtifactError(
                f"it was damaged or cut short on its way: it does not have the SHA-256 in {printable(beside.name)}."
            )
        checks.append(printable(beside.name))
    if sha256 is not None:
        if not _DIGEST.fullmatch(sha256):
            raise UsageError(f"--sha256 takes 64 hex digits, as sha256sum prints them; not {printable(sha256)}.")
        if not sealed.has_digest(sha256):
            raise ArtifactError(f"it is not the file meant: its SHA-256 is {sealed.file_sha256}.")
        checks.append("--sha256")
    return checks


def _digest_in(path: Path) -> str | None:
    """The digest in a side file: its first word, as sha256sum or Get-FileHash write it. None for any other word."""
    if not path.exists():
        return None
    try:
        words = read_bounded(path, MOST_DIGEST_BYTES).split(maxsplit=1)  # the name after it may hold any bytes
        word = decoded(words[0]).lstrip("\\")  # sha256sum puts it first for a name with a backslash
    except (UsageError, ValueError, IndexError):
        return None
    return word if _DIGEST.fullmatch(word) else None


def _ensure_number(manifest: Mapping[str, Any]) -> None:
    """Raises ArtifactError where the threshold that agents would use is not a usable number."""
    threshold = manifest.get("threshold")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise ArtifactError("its threshold is no number; enrol the product again.")


def _write(path: Path, content: bytes, overwrites: bool) -> None:
    name = printable(str(path))
    try:
        write_whole(path, content, overwrites=overwrites)
    except FileExistsError:
        raise UsageError(f"There is a file {name} already; name another with --output, or use --force.") from None
    except OSError as error:
        raise UsageError(f"{name} can't be written ({error.strerror}).") from error
