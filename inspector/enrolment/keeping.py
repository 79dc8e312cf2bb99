"""The last step of an enrolment: the finished version goes into the registry, or into a file that can be imported."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from inspector.domain import ENROLLED_HERE, ProductVersion, Provenance, Signature
from inspector.errors import LedgerUnavailable, SchemaOutdated, StateUnusable
from inspector.files import remove
from inspector.operation.artifact_files import digest_file
from inspector.store.pictures.folders import write_whole
from inspector.vision.artifacts.envelope import seal

WAITS_FOR_STORE: Final = "waits for the database, which takes no writes now; the finished version is safe in a file"
"""The phase that `progress` is told while the registry is tried again."""

_ACTIVATES: Final = " --activate --reason enrolled"
"""What a person adds so that the imported version goes live as the enrolment meant it to."""
_INSISTS: Final = " --insist"
"""And this, where the enrolment was insisted on."""

TRIED_FOR_S: Final = 120.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 8.0

Progress = Callable[[str, int, int], None]


class Versions(Protocol):
    """The part of the registry that is used here."""

    async def products(self) -> list[ProductVersion]: ...

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
    ) -> ProductVersion: ...


@dataclass(frozen=True, slots=True)
class FinishedVersion:
    """The result of an enrolment, and how it is to be stored. `insisted_on`: words for the audit; empty for none.

    `signature`: over the version; None where this machine has no signing key.
    """

    product: str
    artifact: bytes
    manifest: dict[str, Any]
    by: str
    activate: bool
    shadow: bool
    insisted_on: str = ""
    signature: Signature | None = None

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.artifact).hexdigest()


async def stored(registry: Versions, finished: FinishedVersion, folder: Path, progress: Progress) -> ProductVersion:
    """Store the version and return it as the registry has it. If the database takes no writes, the registry is tried
    again for `TRIED_FOR_S`.

    The artifact is kept as a file meanwhile, in `folder` or else in the current folder. The file stays if the registry
    never takes the version. Raises LedgerUnavailable or SchemaOutdated, whose sentence names the file and the command
    that imports it.
    """
    try:
        return await _added(registry, finished)
    except (LedgerUnavailable, SchemaOutdated) as error:
        last: LedgerUnavailable | SchemaOutdated = error
    file = await asyncio.to_thread(_saved, finished, folder)
    give_up_at, pause_s = time.monotonic() + TRIED_FOR_S, FIRST_PAUSE_S
    while last.retryable and time.monotonic() < give_up_at:
        progress(WAITS_FOR_STORE, 0, 0)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        try:
            version = await _there_already(registry, finished) or await _added(registry, finished)
        except (LedgerUnavailable, SchemaOutdated) as error:
            last = error
        else:
            if file is not None:
                await asyncio.to_thread(_remove, file)
            return version
    raise type(last)(f"{last} {_way_out(finished, file)}") from last


async def _added(registry: Versions, finished: FinishedVersion) -> ProductVersion:
    return await registry.add_version(
        finished.product,
        finished.artifact,
        finished.manifest,
        by=finished.by,
        activate=finished.activate,
        shadow=finished.shadow,
        provenance=Provenance(
            f"enrolled ({finished.insisted_on})" if finished.insisted_on else "enrolled", finished.signature
        ),
    )


async def _there_already(registry: Versions, finished: FinishedVersion) -> ProductVersion | None:
    """The version, if an earlier try has stored it: a connection that breaks at the commit leaves that open."""
    versions = [version for version in await registry.products() if version.product == finished.product]
    return next((version for version in reversed(versions) if version.digest == finished.digest), None)


def _saved(finished: FinishedVersion, folder: Path) -> Path | None:
    """Write the file, with its digests as `products export` writes them. None if no folder can be written."""
    content = seal(finished.artifact, signature=finished.signature)
    sha256 = hashlib.sha256(content).hexdigest()
    for place in (folder, Path.cwd()):
        file = place / f"{finished.product}-{finished.digest[:12]}.artifact"
        try:
            write_whole(file, content, durable=True, is_shared=True)
            write_whole(digest_file(file), f"{sha256}  {file.name}\n".encode(), durable=True, is_shared=True)
        except StateUnusable:
            continue
        return file
    return None


def _remove(file: Path) -> None:
    for path in (file, digest_file(file)):
        remove(path)


def _way_out(finished: FinishedVersion, file: Path | None) -> str:
    if file is None:
        return f"The finished version of {finished.product} could not be written to a file either; enrol it again."
    options = (_ACTIVATES if finished.activate else "") + (_INSISTS if finished.insisted_on else "")
    what = f"inspector products import {shlex.quote(str(file))}{options}"
    return f"The finished version is kept in a file; `{what}` (with --config, where one was named) stores it later."
