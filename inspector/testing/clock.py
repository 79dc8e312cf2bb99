"""A clock that stands still until a test moves it.

`now` and `monotonic_ns` move together. Sleepers wake in the order of their deadlines, and only when
`advance` or `elapse` has moved the clock past them: no test waits for real time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

START = datetime(2025, 1, 1, tzinfo=UTC)
_NS = 1_000_000_000


class FakeClock:
    """The port `Clock` under a test's control; `start` must be aware."""

    def __init__(self, start: datetime = START, monotonic_ns: int = _NS) -> None:
        self._wall_start = start
        self._mono_start_ns = monotonic_ns
        self._mono_ns = monotonic_ns
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._wall_start + timedelta(microseconds=(self._mono_ns - self._mono_start_ns) // 1000)

    def monotonic_ns(self) -> int:
        return self._mono_ns

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has moved by `seconds`; 0 or less only lets other tasks run."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._mono_ns + round(seconds * _NS), next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move the clock at once. Sleepers that are due wake at the next turn of the loop, in deadline order."""
        self._move_to(self._mono_ns + round(seconds * _NS))

    async def elapse(self, seconds: float) -> None:
        """Let time pass. The clock stops at each deadline on the way, until the tasks that wake have run."""
        end_ns = self._mono_ns + round(seconds * _NS)
        await settle()
        while (due_ns := self.next_deadline_ns) is not None and due_ns <= end_ns:
            self._move_to(due_ns)
            await settle()
        self._move_to(end_ns)
        await settle()

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as NTP does. Ages and sleepers must not be affected."""
        self._wall_start += timedelta(seconds=seconds)

    @property
    def next_deadline_ns(self) -> int | None:
        """The deadline of the next sleeper, or None."""
        while self._sleepers and self._sleepers[0][2].done():  # cancelled while asleep
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _move_to(self, mono_ns: int) -> None:
        if mono_ns < self._mono_ns:
            raise ValueError("a monotonic clock never goes backwards")
        self._mono_ns = mono_ns
        while (due_ns := self.next_deadline_ns) is not None and due_ns <= mono_ns:
            heapq.heappop(self._sleepers)[2].set_result(None)


async def settle(rounds: int = 20) -> None:
    """Let all tasks run that wait for no time, for at most `rounds` turns of the loop."""
    for _ in range(rounds):
        await asyncio.sleep(0)
