"""Writes rows into the ledger, in order. Rows that the ledger does not take at once wait in the journal.

No stage waits for the ledger. While rows wait, only their ids are kept here; the rows are read back from the
journal group by group. While the disk is too full to make them durable, they count as not durable, and nothing is
acknowledged. New rows queue behind them, so that the ledger's sequence has the order of delivery. A write that takes
long goes on in the background, with its rows first in the queue.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from inspector.domain import ResultId, Severity
from inspector.errors import LedgerUnavailable
from inspector.ports import Ledger
from inspector.stream.pipeline.room import JournalRoom
from inspector.stream.pipeline.ticket import Row, Shared, Signal

LEDGER_RETRY_S = 1.0
LEDGER_PATIENCE_S = 0.25
"""Longest time that acknowledgements wait for the ledger's answer; after this time the journal is synced instead."""


@dataclass(frozen=True, slots=True)
class _Write:
    """A write that takes long; its rows are first in the queue. `task` returns whether the ledger took them."""

    task: asyncio.Task[bool]
    rows: int


class Writing:
    """Makes one write to the ledger at a time. One task calls `ensure_durable`, and another task runs `run`."""

    def __init__(self, shared: Shared, ledger: Ledger, room: JournalRoom) -> None:
        self._shared = shared
        self._ledger = ledger
        self._room = room
        self._journal = room.journal
        self._waiting: deque[ResultId] = deque()
        self._under_way: _Write | None = None
        self._has_waiting = Signal()

    @property
    def waiting(self) -> int:
        """Number of rows that are in the journal only."""
        return len(self._waiting)

    async def ensure_durable(self, rows: Sequence[Row]) -> None:
        """Return when the rows are in the ledger, or on stable storage in the journal."""
        if not rows:
            return
        ids = [row.verdict.result_id for row in rows]
        if not self._waiting:
            write = asyncio.create_task(self._record(rows))
            try:
                await asyncio.wait([write], timeout=LEDGER_PATIENCE_S)
            except asyncio.CancelledError:
                write.cancel()
                raise
            if write.done() and write.result():
                self._journal.append_recorded(ids)
                return
            if not write.done():
                self._under_way = _Write(write, len(ids))
        self._waiting.extend(ids)
        self._has_waiting.set()
        await self._room.synced()

    async def run(self) -> None:
        """Write the rows that wait, oldest first, until cancelled."""
        try:
            while True:
                if not self._waiting:
                    await self._has_waiting.wait()
                elif not await self._write_oldest():
                    await self._shared.clock.sleep(LEDGER_RETRY_S)
        finally:
            if self._under_way is not None:
                self._under_way.task.cancel()

    async def _write_oldest(self) -> bool:
        """Write the oldest group of rows. Returns False if the ledger did not take it."""
        if self._under_way is not None:
            task, count = self._under_way.task, self._under_way.rows
            await asyncio.wait([task])
            self._under_way = None
            is_written = task.result()
        else:
            count = min(len(self._waiting), self._shared.config.store.commit_rows)
            ids = dict.fromkeys(itertools.islice(self._waiting, count))
            rows = [Row(verdict, decision) for verdict, decision in self._journal.read(list(ids))]
            is_written = not rows or await self._record(rows)
        if is_written:
            self._journal.append_recorded([self._waiting.popleft() for _ in range(count)])
        return is_written

    async def _record(self, rows: Sequence[Row]) -> bool:
        """Write rows; returns False if the ledger is unavailable. Its loss and its return are one event each."""
        decisions = [(row.decision, row.verdict.published) for row in rows if row.decision is not None]
        began_ns = self._shared.clock.monotonic_ns()
        try:
            conflicts = await self._ledger.record(
                [row.verdict for row in rows], decisions, self._shared.admission.recorded(row.verdict for row in rows)
            )
        except LedgerUnavailable as away:
            self._shared.note_ledger(is_away=True, detail=str(away))
            return False
        self._shared.telemetry.observe_ms("record", (self._shared.clock.monotonic_ns() - began_ns) / 1e6)
        self._shared.note_ledger(is_away=False, detail=f"{len(self._waiting)} rows wait to be written")
        if corrections := self._ledger.take_corrections():
            self._shared.corrections += corrections
            self._shared.has_gap.set()
        for result_id in conflicts:
            self._shared.event(
                "conflict",
                Severity.ALARM,
                result_id,
                "another agent has recorded another outcome of this frame, and its row stays: two agents judge the "
                f"same frames. See: inspector results show {result_id}, and inspector doctor",
            )
        return True
