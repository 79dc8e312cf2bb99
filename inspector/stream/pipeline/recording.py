"""Rows into the ledger by group commit, then acknowledgements; the journal stands in while it is away.

Rows are released in the order their frames were delivered, so that the ledger's sequence is each
camera's. A position is acknowledged after everything before it in its stream is durable. While the
ledger is away the journal is what is durable: it is synced, frames are acknowledged, and their rows
wait here in order until the ledger is back.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

from inspector.domain import Identity, Position, ResultId, Severity
from inspector.errors import LedgerUnavailable
from inspector.ports import FrameSource, Journal, Ledger
from inspector.stream.pipeline.ticket import Row, Shared, Signal, Ticket

LEDGER_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Entry:
    row: Row | None
    acknowledges: tuple[FrameSource, Position] | None


class Recording:
    """The one task that writes rows and acknowledges. Everyone else only hands entries in."""

    def __init__(self, shared: Shared, ledger: Ledger, journal: Journal) -> None:
        self._shared = shared
        self._ledger = ledger
        self._journal = journal
        self._entries: deque[_Entry] = deque()
        self._spooled: deque[Row] = deque()
        self._has_entry = Signal()
        self._next_try_ns = 0

    @property
    def backlog(self) -> int:
        """Rows and acknowledgements not yet done."""
        return len(self._entries) + len(self._spooled)

    @property
    def waiting(self) -> int:
        """Entries not yet durable anywhere but in the journal, less what is spooled on purpose."""
        return len(self._entries)

    def finish(self, ticket: Ticket, row: Row) -> None:
        """A frame's verdict is out. Its row is written when everything delivered before it has one."""
        self._release(ticket.source, ticket.position, row)

    def skip(self, source: FrameSource, position: Position) -> None:
        """A delivery that needs no row of its own: only its place in the order counts."""
        self._release(source, position, None)

    def add(self, row: Row) -> None:
        """A row that no delivery stands for."""
        self._entries.append(_Entry(row, None))
        self._has_entry.set()

    async def run(self) -> None:
        """Write and acknowledge until cancelled."""
        store = self._shared.config.store
        while True:
            if not self._entries:
                await self._has_entry.wait(LEDGER_RETRY_S if self._spooled else None)
            if self._entries and len(self._entries) < store.commit_rows:
                await self._shared.clock.sleep(store.commit_wait_ms / 1000)
            await self.write_once()

    async def write_once(self) -> None:
        """One group commit of what is there, replaying the spool first."""
        if self._spooled:
            await self._replay()
        limit = self._shared.config.store.commit_rows
        group = [self._entries.popleft() for _ in range(min(limit, len(self._entries)))]
        if not group:
            return
        rows = [entry.row for entry in group if entry.row is not None]
        if not self._spooled and await self._record(rows):
            self._journal.append_recorded([row.verdict.result_id for row in rows])
        else:
            await self._journal.sync()
            self._spooled.extend(rows)
        self._shared.checkpoint("recorded")
        self._let_followers_go(rows)
        await self._acknowledge(group)

    def _release(self, source: FrameSource, position: Position, row: Row | None) -> None:
        for released in self._shared.watermark.finish(position, row):
            self._entries.append(_Entry(released.value, (source, released.position)))
        self._has_entry.set()

    async def _replay(self) -> None:
        now_ns = self._shared.clock.monotonic_ns()
        if now_ns < self._next_try_ns:
            return
        while self._spooled:
            chunk = list(itertools.islice(self._spooled, self._shared.config.store.commit_rows))
            if not await self._record(chunk):
                self._next_try_ns = self._shared.clock.monotonic_ns() + int(LEDGER_RETRY_S * 1e9)
                return
            self._journal.append_recorded([row.verdict.result_id for row in chunk])
            for _ in chunk:
                self._spooled.popleft()

    async def _record(self, rows: list[Row]) -> bool:
        """False when the ledger is away; the edge is one event each way."""
        if not rows:
            return not self._spooled
        decisions = [(row.decision, bool(row.verdict.published)) for row in rows if row.decision is not None]
        try:
            conflicts = await self._ledger.record(
                [row.verdict for row in rows], decisions, self._shared.admission.recorded(row.verdict for row in rows)
            )
        except LedgerUnavailable as away:
            self._note_ledger(is_away=True, detail=str(away))
            return False
        self._note_ledger(is_away=False, detail=f"{len(self._spooled)} rows wait for replay")
        for result_id in conflicts:
            self._shared.event(
                "conflict", Severity.ALARM, result_id, "another outcome is recorded already; the first row stays"
            )
        return True

    def _note_ledger(self, is_away: bool, detail: str) -> None:
        if is_away == self._shared.ledger_is_away:
            return
        self._shared.ledger_is_away = is_away
        kind, severity = ("ledger_down", Severity.ALARM) if is_away else ("ledger_up", Severity.INFO)
        self._shared.event(kind, severity, "ledger", detail)

    def _let_followers_go(self, rows: list[Row]) -> None:
        for row in rows:
            ticket = self._shared.in_flight.pop(row.verdict.result_id, None)
            for source, position in ticket.followers if ticket else ():
                self.skip(source, position)

    async def _acknowledge(self, group: list[_Entry]) -> None:
        last: dict[tuple[str, int], tuple[FrameSource, Position]] = {}
        for entry in group:
            if entry.acknowledges is not None:
                position = entry.acknowledges[1]
                last[(position.stream, position.generation)] = entry.acknowledges
        taken = {key for key, (source, position) in last.items() if await source.acknowledge(position)}
        self._shared.checkpoint("acknowledged")
        weak: list[ResultId] = []
        for entry in group:
            if entry.acknowledges is None or entry.row is None:
                continue
            position, verdict = entry.acknowledges[1], entry.row.verdict
            if (position.stream, position.generation) in taken and verdict.identity is Identity.WEAK:
                self._shared.admission.acknowledged(verdict.camera, verdict.result_id)
                weak.append(verdict.result_id)
        if weak:
            self._journal.append_acknowledged(weak)
