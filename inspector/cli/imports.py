"""What an exported file offers: read within bounds, checked for damage, and whole enough to be loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.domain import printable
from inspector.errors import ArtifactError, UsageError
from inspector.vision.artifacts.envelope import Sealed, read_bounded, unseal
from inspector.vision.artifacts.format import read_manifest, unpack

MOST_DIGEST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class OfferedVersion:
    """A version that can be loaded. `origin`: the file's name and what it was checked by, for the audit."""

    product: str
    artifact: bytes
    digest: str
    manifest: dict[str, Any]
    origin: str

    @property
    def threshold(self) -> float:
        """The one that agents would judge by."""
        return float(self.manifest["threshold"])


def digest_file(path: Path) -> Path:
    """Where the SHA-256 of an exported file lies."""
    return path.with_name(f"{path.name}.sha256")


def read_export(path: Path, expected: str | None, trusted_because: str | None) -> OfferedVersion:
    """The version in a file. `expected`: its SHA-256 as a person knows it; `trusted_because`: None where it is not.

    Raises UsageError for what is no exported file or has nothing to be checked by, ArtifactError for what is damaged or
    can't be loaded.
    """
    name = printable(str(path))
    if trusted_because == "":
        raise UsageError(
            "--trust takes a file that nothing vouches for; say why with --reason, it stands in the audit."
        )
    content = read_bounded(path)
    try:
        sealed = unseal(content)
        checks = _checks(path, sealed, expected)
        if not checks and trusted_because is None:
            raise UsageError(
                f"Nothing says whether {name} was damaged on its way: it does not end with its SHA-256, as `products "
                f"export` writes it, and there is no readable {printable(digest_file(path).name)}; give --sha256, or "
                "--trust it with a --reason."
            )
        artifact = unpack(sealed.artifact)  # all of it, so that nothing is taken in that no agent could load
        manifest = read_manifest(sealed.artifact)
        _ensure_numbers(manifest)
    except ArtifactError as error:
        raise ArtifactError(f"{name} can't be imported: {error}") from error
    checked = f"checked by {', '.join(checks)}" if checks else "trusted, not checked"
    return OfferedVersion(
        artifact.product, sealed.artifact, sealed.artifact_sha256, manifest, f"{printable(path.name)}, {checked}"
    )


def _checks(path: Path, sealed: Sealed, expected: str | None) -> list[str]:
    """What the file was checked by. Raises ArtifactError where one of them is another's, UsageError for no digest."""
    checks = ["the SHA-256 at its end"] if sealed.is_sealed else []
    beside = digest_file(path)
    if (digest := _digest_in(beside)) is not None:
        if not sealed.has_digest(digest):
            raise ArtifactError(
                f"it was damaged or cut short on its way: it does not have the SHA-256 in {printable(beside.name)}."
            )
        checks.append(printable(beside.name))
    if expected is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", expected):
            raise UsageError(f"--sha256 takes 64 hex digits, as sha256sum prints them; not {printable(expected)}.")
        if not sealed.has_digest(expected):
            raise ArtifactError(f"it is not the file meant: its SHA-256 is {sealed.file_sha256}.")
        checks.append("--sha256")
    return checks


def _digest_in(path: Path) -> str | None:
    """The first word of a side file, where it is a digest; None where there is none that can be read."""
    if not path.exists():
        return None
    try:
        first = read_bounded(path, MOST_DIGEST_BYTES).split(maxsplit=1)[:1]
    except UsageError:
        return None
    word = first[0].decode("ascii", "replace").lstrip("\\") if first else ""
    return word if re.fullmatch(r"[0-9a-fA-F]{64}", word) else None


def _ensure_numbers(manifest: Mapping[str, Any]) -> None:
    """Raises ArtifactError where the threshold that agents would use is none."""
    threshold = manifest.get("threshold")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise ArtifactError("its threshold is no number; enrol the product again.")
