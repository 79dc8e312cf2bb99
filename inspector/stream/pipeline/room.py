"""Watches whether the journal has room. While it is full, cameras without a gate pause and gates are not ready.

A verdict that the journal refuses waits here, so that no verdict is dropped. Entries that a full disk can't make
durable wait here too, and nobody acknowledges them meanwhile. A full journal takes an entry now and then as segments
are freed. The journal still counts as full until there is room for more entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from inspector.domain import Severity
from inspector.errors import JournalFull
from inspector.ports import Journal
from inspector.stream.pipeline.ticket import Shared

RETRY_S = 0.2
CALM_S = 1.0
"""The journal counts as full until it has refused no entry for this time and its fill is at most `LOW_FILL`."""

LOW_FILL = 0.9
"""Share of the journal's bound that may be in use when it counts as having room again."""

PAUSED = (
    "Cameras without a gate are paused: their frames wait at their brokers, which drop what is beyond their own bounds."
)

T = TypeVar("T")


class JournalRoom:
    """The journal, with the wait for room in it. Holds `Shared.journal_has_room`; each change is one event."""

    def __init__(self, shared: Shared, journal: Journal) -> None:
        self.journal = journal
        self._shared = shared
        self._refused_ns = 0

    async def taken(self, append: Callable[[], T]) -> T:
        """Call `append` until the journal takes the entry. Returns the result of `append`."""
        while True:
            try:
                return append()
            except JournalFull as full:
                await self._wait(full)

    async def synced(self) -> None:
        """Return when the journal's entries are on stable storage. A full disk is told, and tried again."""
        while True:
            try:
                await self.journal.sync()
            except JournalFull as full:
                await self._wait(full)
            else:
                return

    async def run(self) -> None:
        """Check again and again whether the journal has room, until cancelled."""
        while True:
            await self._shared.clock.sleep(RETRY_S)
            since_ns = self._shared.clock.monotonic_ns() - self._refused_ns
            if since_ns >= CALM_S * 1e9 and self.journal.size_bytes <= LOW_FILL * self.journal.limit_bytes:
                self._note(has_room=True, detail=f"{self.journal.size_bytes >> 20} MiB are in use")

    async def _wait(self, full: JournalFull) -> None:
        self._refused_ns = self._shared.clock.monotonic_ns()
        self._note(has_room=False, detail=f"{full} {PAUSED}")
        await self._shared.clock.sleep(RETRY_S)

    def _note(self, has_room: bool, detail: str) -> None:
        if has_room == self._shared.journal_has_room:
            return
        self._shared.journal_has_room = has_room
        kind, severity = ("journal_has_room", Severity.INFO) if has_room else ("journal_full", Severity.ALARM)
        self._shared.event(kind, severity, self._shared.config.agent.name, detail)
        for source in self._shared.ungated_sources():
            source.resume() if has_room else source.pause()
        self._shared.has_room.set()
        self._shared.has_news.set()
