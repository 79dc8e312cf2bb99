"""What a running agent does to its store by itself: old rows and pictures go, what is held stays.

The same code as `inspector db prune`. Holds are looked at more often than rows: the folders' own bounds remove
pictures at any time, and must spare what is held. Several agents on one database do no harm to each other.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from inspector.config.sections import RetentionSection
from inspector.domain import Event, Severity, Verdict
from inspector.errors import LedgerUnavailable, RowDamaged, SchemaOutdated, StateUnusable
from inspector.ports import Clock, Telemetry
from inspector.store.database import Database
from inspector.store.pictures.folders import Held, files_of, result_of
from inspector.store.retention import holds
from inspector.store.retention.holds import Hold
from inspector.store.retention.pictures import prune_pictures
from inspector.store.retention.retention import prune

HOLDS_S: Final = 30.0


class Housekeeping:
    """One task beside the road. `held` is what the agent's folders ask."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        retention: RetentionSection,
        folders: tuple[Path, Held],
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._retention = retention
        self._state_dir, self._held = folders
        self._holds: list[Hold] | None = None  # nobody has looked yet
        self._is_failing = False

    async def run(self) -> None:
        """Rounds for ever; what goes wrong is one event, and the next round tries again."""
        next_ns = self._clock.monotonic_ns()
        while True:
            try:
                await self.look_at_holds()
                if self._clock.monotonic_ns() >= next_ns:
                    await self.tidy()
                    next_ns = self._clock.monotonic_ns() + int(self._retention.every_h * 3600e9)
            except LedgerUnavailable:
                pass  # the road says so itself; nothing is taken out meanwhile
            except (StateUnusable, SchemaOutdated, RowDamaged) as error:
                if not self._is_failing:
                    self._report("prune_failed", Severity.WARNING, str(error))
                self._is_failing = True
            else:
                self._is_failing = False
            await self._clock.sleep(min(HOLDS_S, self._retention.every_h * 3600))

    async def look_at_holds(self) -> None:
        """After this the agent's folders spare what is held now."""
        found = await holds.listed(self._database)
        if found == self._holds:
            return
        selections = [hold.selection for hold in found]

        def covers(verdict: Verdict) -> bool:
            return any(selection.covers(verdict) for selection in selections)

        # First what is written from now on, then what is there: nothing falls between.
        self._held.renew(covers, is_any=bool(found))
        self._held.found(await holds.held_ids(self._database, await asyncio.to_thread(self._kept_results)))
        self._holds = found

    async def tidy(self) -> None:
        """One round of all rules."""
        pruned = await prune(self._database, self._clock, self._retention)
        pruned += await prune_pictures(self._database, self._clock, self._state_dir, self._retention)
        if any(each.taken for each in pruned):
            counts = ", ".join(f"{each.taken} {each.rule}" for each in pruned if each.taken)
            self._report("pruned", Severity.INFO, f"{counts}; {sum(each.held for each in pruned)} held")

    def _kept_results(self) -> list[str]:
        images = self._state_dir / "images"
        folders = ((images, images / "latest"), (self._state_dir / "dead-letters", None))
        return sorted({result_of(path) for folder, spare in folders for path, _ in files_of(folder, spare)})

    def _report(self, kind: str, severity: Severity, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, severity, "store", detail))
