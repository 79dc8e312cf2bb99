"""Makes rows durable in groups, then acknowledges their deliveries.

Rows of a stream are released in the order of delivery, so that the ledger's sequence has the order of each
camera. A position is acknowledged when everything before it in its stream is durable: in the ledger, or
in the journal while the ledger is unavailable.

A frame without ids that comes again is known only by a row whose acknowledgement the broker has not taken. So such a
row is forgotten only when its source has confirmed the acknowledgement, and not when it was sent. The journal notes it
when it is sent: where the agent is killed before the answer, such a frame may get one row more, and never one fewer.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import Final

from inspector.domain import Identity, ResultId, Verdict
from inspector.ports import Journal
from inspector.stream.pipeline.ticket import Receipt, Row, Shared, Signal, Ticket
from inspector.stream.pipeline.writing import Writing

ENOUGH: Final = 16
"""So many rows wait for no more: a row of a larger transaction costs hardly less."""

MOST_PUBLISHED: Final = 4096
"""Rows of other views that are remembered as published until they are written."""


@dataclass(frozen=True, slots=True)
class _Entry:
    row: Row | None
    acknowledges: Receipt | None


class Recording:
    """One task that makes rows durable and acknowledges deliveries. The other stages only hand over entries."""

    def __init__(self, shared: Shared, writing: Writing, journal: Journal) -> None:
        self._shared = shared
        self._writing = writing
        self._journal = journal
        self._entries: deque[_Entry] = deque()
        self._has_entry = Signal()
        self._has_enough = Signal()
        self._published: dict[ResultId, bool | None] = {}
        # Frames without ids by the answer that confirms their acknowledgement. A source holds no more frames than it
        # may have unacknowledged, so these are bounded too: an unread answer lies behind unread frames.
        self._unconfirmed: dict[asyncio.Future[bool], list[Verdict]] = {}

    @property
    def waiting(self) -> int:
        """Rows and acknowledgements not yet done."""
        return len(self._entries)

    def finish(self, ticket: Ticket, row: Row) -> None:
        """Hand over the row of a frame. It is written after the rows of all frames delivered before it."""
        self._release(ticket.receipt, row)

    def skip(self, receipt: Receipt) -> None:
        """Hand over a delivery without a row of its own. The delivery is acknowledged in its place in the order."""
        self._release(receipt, None)

    def add(self, row: Row) -> None:
        """Hand over a row without a delivery."""
        self._entries.append(_Entry(row, None))
        self._note_entries()

    def note_published(self, result_id: ResultId, published: bool | None) -> None:
        """Note that a decision which names this row went out, or may have (None). The row may be handed over already.

        If the row is in the ledger already, the ledger notes it with the decision.
        """
        self._published[result_id] = published
        if len(self._published) > MOST_PUBLISHED:
            del self._published[next(iter(self._published))]

    async def run(self) -> None:
        """Write and acknowledge until cancelled."""
        store = self._shared.config.store
        while True:
            if not self._entries:
                await self._has_entry.wait()
            self._forget_confirmed()
            if self._entries and len(self._entries) < min(ENOUGH, store.commit_rows):
                await self._has_enough.wait(store.commit_wait_ms / 1000)
            await self.write_once()

    async def write_once(self) -> None:
        """Make one group of entries durable, then acknowledge it."""
        limit = self._shared.config.store.commit_rows
        group = [self._entries.popleft() for _ in range(min(limit, len(self._entries)))]
        if not group:
            return
        rows = [self._as_published(entry.row) for entry in group if entry.row is not None]
        await self._writing.ensure_durable(rows)
        for _ in rows:
            self._shared.checkpoint("recorded")
        self._let_followers_go(rows)
        await self._acknowledge(group)

    def _as_published(self, row: Row) -> Row:
        verdict = row.verdict
        if verdict.result_id not in self._published:
            return row
        published = self._published.pop(verdict.result_id)
        return row if verdict.published is not False else replace(row, verdict=replace(verdict, published=published))

    def _release(self, receipt: Receipt, row: Row | None) -> None:
        for released in self._shared.watermark.finish(receipt.position, row):
            self._entries.append(_Entry(released.value, Receipt(receipt.source, released.position)))
        self._note_entries()

    def _note_entries(self) -> None:
        self._has_entry.set()
        if len(self._entries) >= ENOUGH:
            self._has_enough.set()

    def _let_followers_go(self, rows: list[Row]) -> None:
        for row in rows:
            ticket = self._shared.in_flight.pop(row.verdict.result_id, None)
            for receipt in ticket.followers if ticket else ():
                self.skip(receipt)

    async def _acknowledge(self, group: list[_Entry]) -> None:
        last: dict[tuple[str, int], Receipt] = {}
        for entry in group:
            if entry.acknowledges is not None:
                position = entry.acknowledges.position
                last[(position.stream, position.generation)] = entry.acknowledges
        taken = {key for key, receipt in last.items() if await receipt.source.acknowledge(receipt.position)}
        for entry in group:
            if entry.acknowledges is not None:
                self._shared.checkpoint("acknowledged")
        weak: defaultdict[tuple[str, int], list[Verdict]] = defaultdict(list)
        for entry in group:
            if entry.acknowledges is None or entry.row is None:
                continue
            position, verdict = entry.acknowledges.position, entry.row.verdict
            if (position.stream, position.generation) in taken and verdict.identity is Identity.WEAK:
                weak[position.stream, position.generation].append(verdict)
        for key, verdicts in weak.items():
            answer = last[key].source.confirmation(last[key].position)
            if answer is None:
                self._forget(verdicts)
            else:
                for verdict in verdicts:
                    self._shared.admission.sent(verdict.camera, verdict.result_id)
                self._unconfirmed[answer] = verdicts
                answer.add_done_callback(lambda _: self._has_entry.set())
            self._journal.append_acknowledged([verdict.result_id for verdict in verdicts])

    def _forget_confirmed(self) -> None:
        """Forget the frames whose brokers have answered. Those of a lost link may come again and stay known."""
        answered = [answer for answer in self._unconfirmed if answer.done()]
        for answer in answered:
            verdicts = self._unconfirmed.pop(answer)
            if answer.result():
                self._forget(verdicts)

    def _forget(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            self._shared.admission.acknowledged(verdict.camera, verdict.result_id)
