"""Prunes the store of a running agent: removes old rows and pictures, except held ones.

This task uses the same code as `inspector db prune`. Holds are read more often than rows are pruned, because the
folders remove pictures at their bounds at any time and must spare held pictures. Several agents may prune one database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from inspector.config.sections import RetentionSection
from inspector.domain import Event, Severity, Verdict
from inspector.errors import LedgerUnavailable, RowDamaged, SchemaOutdated, StateUnusable
from inspector.ports import Clock, Telemetry
from inspector.store.database import Database
from inspector.store.pictures.folders import Held, files_of, result_of, translated
from inspector.store.retention import holds
from inspector.store.retention.graphs import prune_graphs
from inspector.store.retention.holds import Hold
from inspector.store.retention.leaps import find_leap, has_rules, note_pruned
from inspector.store.retention.pictures import prune_pictures
from inspector.store.retention.retention import prune

HOLDS_S: Final = 30.0


class Housekeeping:
    """One task beside the road. `held` is shared with the agent's folders.

    `needed_passes`: what the graphs compute that stay although no version names them.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        retention: RetentionSection,
        state_dir: Path,
        held: Held,
        needed_passes: Sequence[Mapping[str, Any]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._retention = retention
        self._state_dir = state_dir
        self._held = held
        self._needed_passes = needed_passes
        self._holds: list[Hold] | None = None  # the holds have not been read yet
        self._is_failing = False
        self._is_held_back = False
        self._since = clock.now()

    async def run(self) -> None:
        """Work in rounds until cancelled. The first failure is an event, and the next round tries again."""
        next_ns = self._clock.monotonic_ns()
        while True:
            try:
                await self.look_at_holds()
                if self._clock.monotonic_ns() >= next_ns:
                    await self.tidy()
                    next_ns = self._clock.monotonic_ns() + int(self._retention.every_h * 3600e9)
            except LedgerUnavailable:
                pass  # the road reports it; nothing is removed meanwhile
            except (StateUnusable, SchemaOutdated, RowDamaged) as error:
                if not self._is_failing:
                    self._report("prune_failed", Severity.WARNING, str(error))
                self._is_failing = True
            else:
                self._is_failing = False
            await self._clock.sleep(min(HOLDS_S, self._retention.every_h * 3600))

    async def look_at_holds(self) -> None:
        """Read the holds. After this the agent's folders spare held files."""
        current = await holds.listed(self._database)
        if current == self._holds:
            return
        selections = [hold.selection for hold in current]

        def covers(verdict: Verdict) -> bool:
            return any(selection.covers(verdict) for selection in selections)

        # First for files written from now on, then for existing files, so that no file is missed.
        self._held.renew(covers, is_any=bool(current))
        self._held.found(await holds.held_ids(self._database, await asyncio.to_thread(self._kept_results)))
        self._holds = current

    async def tidy(self) -> None:
        """Apply all rules once, unless the clock is too far ahead to tell what is old."""
        now = self._clock.now()
        leap = await find_leap(self._database, self._state_dir, self._retention, now, self._since)
        if leap is not None and not self._is_held_back:
            self._report("prune_held_back", Severity.ALARM, leap)
        self._is_held_back = leap is not None
        if leap is not None:
            return
        pruned = await prune(self._database, self._clock, self._retention)
        pruned += await prune_pictures(self._database, self._clock, self._state_dir, self._retention)
        pruned += await prune_graphs(self._database, self._clock, self._needed_passes)
        if any(result.taken for result in pruned):
            counts = ", ".join(f"{result.taken} {result.rule}" for result in pruned if result.taken)
            self._report("pruned", Severity.INFO, f"{counts}; {sum(result.held for result in pruned)} held")
        if has_rules(self._retention):  # without any, nobody has looked at the clock
            await asyncio.to_thread(note_pruned, self._state_dir, now)

    def _kept_results(self) -> list[str]:
        images = self._state_dir / "images"
        others = ((self._state_dir / name, None) for name in ("dead-letters", "late"))
        folders = ((images, images / "latest"), *others)
        with translated(self._state_dir):
            return sorted({result_of(path) for folder, spare in folders for path, _ in files_of(folder, spare)})

    def _report(self, kind: str, severity: Severity, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, severity, "store", detail))
