"""Removes old pictures and dead letters, except those of held results. May run beside an agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from inspector.config.sections import RetentionSection
from inspector.errors import StateUnusable
from inspector.files import remove, remove_empty_folder
from inspector.ports import Clock
from inspector.store.database import Database
from inspector.store.pictures.folders import files_of, result_of, translated
from inspector.store.retention import holds
from inspector.store.retention.retention import Pruned, Report

BATCH_FILES: Final = 500


async def prune_pictures(
    database: Database,
    clock: Clock,
    state_dir: Path,
    section: RetentionSection,
    *,
    dry_run: bool = False,
    report: Report = lambda _rule, _done, _total: None,
) -> list[Pruned]:
    """Remove files written more than `pictures_days` ago; removes no file if that key is unset.

    Raises StateUnusable where a folder can't be used, such as one behind a link of another user, after the others.
    """
    if section.pictures_days is None:
        return []
    before = clock.now() - timedelta(days=section.pictures_days)
    folders = (("pictures", state_dir / "images"), ("dead_letters", state_dir / "dead-letters"))
    pruned: list[Pruned] = []
    refused: StateUnusable | None = None
    for name, folder in folders:
        try:
            pruned.append(await _prune(database, clock, (name, folder, before), dry_run, report))
        except StateUnusable as error:
            refused = refused or error
    if refused is not None:
        raise refused
    return pruned


async def _prune(
    database: Database, clock: Clock, what: tuple[str, Path, datetime], dry_run: bool, report: Report
) -> Pruned:
    name, folder, before = what
    old = await asyncio.to_thread(_older, folder, before)
    taken = held = 0
    for start in range(0, len(old), BATCH_FILES):
        began = time.perf_counter()
        batch = old[start : start + BATCH_FILES]
        # The holds are read anew for each batch, so that a new hold keeps the files that are still there.
        kept = await holds.held_ids(database, sorted({result_of(path) for path in batch}))
        leaving = [path for path in batch if result_of(path) not in kept]
        if not dry_run:
            await asyncio.to_thread(_remove, leaving, folder)
        taken += len(leaving)
        held += len(batch) - len(leaving)
        report(name, taken + held, len(old))
        await clock.sleep(time.perf_counter() - began)
    return Pruned(name, before, taken, held)


def _older(folder: Path, before: datetime) -> list[Path]:
    """Files older than the limit, oldest first."""
    with translated(folder):
        files = [(status.st_mtime, path) for path, status in files_of(folder, folder / "latest")]
    return [path for modified_s, path in sorted(files) if modified_s < before.timestamp()]


def _remove(paths: Sequence[Path], folder: Path) -> None:
    for path in paths:
        with translated(path):
            remove(path)
        for parent in (path.parent, path.parent.parent):
            if parent == folder or not remove_empty_folder(parent):
                break
