"""Writes the reports of PLCs on their gates into the ledger, in order.

Reports wait here while the ledger is unavailable. Only these reports count all parts. If too many reports wait, the
oldest are lost. The first loss is an event, and so is the end of the losses.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import Final

from inspector.domain import GateAction, Severity
from inspector.errors import LedgerUnavailable
from inspector.ports import GateLine, Ledger
from inspector.stream.pipeline.ticket import Shared, Signal

MOST_KEPT: Final = 100_000
RETRY_S: Final = 1.0
GROUP: Final = 128


class Reports:
    """One task takes reports from the gate line, another writes them."""

    def __init__(self, shared: Shared, ledger: Ledger, gate_line: GateLine | None) -> None:
        self._shared = shared
        self._ledger = ledger
        self._gate_line = gate_line
        self._kept: deque[GateAction] = deque()
        self._has_some = Signal()
        self._lost = 0

    async def run(self) -> None:
        """Take and write reports until cancelled; returns at once if there is no gate."""
        if self._gate_line is None:
            return
        async with asyncio.TaskGroup() as both:
            both.create_task(self._take(self._gate_line))
            both.create_task(self._write())

    async def store(self) -> None:
        """Write the remaining reports at the end. Reports that the ledger does not take count as lost."""
        try:
            while self._kept:
                await self._write_oldest()
        except LedgerUnavailable:
            self._lose(len(self._kept))

    async def _take(self, gate_line: GateLine) -> None:
        async for action in gate_line.actions():
            for listen in self._shared.ack_listeners:
                listen(action)
            if len(self._kept) >= MOST_KEPT:
                self._kept.popleft()
                self._lose(1)
            self._kept.append(action)
            self._has_some.set()

    async def _write(self) -> None:
        while True:
            if not self._kept:
                await self._has_some.wait()
                continue
            try:
                await self._write_oldest()
            except LedgerUnavailable:
                await self._shared.clock.sleep(RETRY_S)

    async def _write_oldest(self) -> None:
        group = list(itertools.islice(self._kept, GROUP))
        await self._ledger.record_gate_actions(group)
        for action in group:
            if self._kept and self._kept[0] is action:  # the oldest may have been lost meanwhile
                self._kept.popleft()
        if self._lost and len(self._kept) < MOST_KEPT:
            detail = f"{self._lost} reports of PLCs were lost while there was no database to keep them"
            self._shared.event("gate_actions_kept", Severity.WARNING, self._shared.config.agent.name, detail)
            self._lost = 0

    def _lose(self, count: int) -> None:
        self._shared.telemetry.count("gate_actions_lost", count)
        if not self._lost:
            detail = "no database to keep what PLCs report, and no more room: the oldest are lost"
            self._shared.event("gate_actions_lost", Severity.ALARM, self._shared.config.agent.name, detail)
        self._lost += count
