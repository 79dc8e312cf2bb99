"""Counts that take long: made once for all who ask for the same, anew in the background, and shown with their time.

A page never waits long for one. While a count is made anew its last one is shown, with its age; one that was never made
is waited for, for `FIRST_WAIT_S` at most. The page then fetches the rest by itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FIRST_WAIT_S: Final = 1.5
AGAIN_WAIT_S: Final = 0.05
"""A count that is made anew within this time is shown at once: small stores never show an old one."""

SHOWN_FOR: Final = timedelta(hours=1)
"""A count that is older than this is not shown at all."""

MOST_KEPT: Final = 32
MOST_WEIGHT: Final = 50_000


@dataclass(frozen=True, slots=True)
class Counted(Generic[V]):
    """A count. `at`: the moment that it speaks of. `is_old`: it is older than usual, and is being made anew."""

    value: V
    at: datetime
    is_old: bool = False


class Lately(Generic[K, V]):
    """Keeps the last count for each question. One count is made at a time, whatever is asked.

    `fresh_s`: a count is made anew after this time at the earliest. `weight`: how much a count holds in memory, in
    lines or the like; the ones that were not asked for lately are forgotten first.
    """

    def __init__(self, fresh_s: float, weight: Callable[[V], int] = lambda _: 1) -> None:
        self._fresh = timedelta(seconds=fresh_s)
        self._weight = weight
        self._turn = asyncio.Lock()
        self._known: OrderedDict[K, Counted[V]] = OrderedDict()
        self._running: dict[K, asyncio.Task[Counted[V]]] = {}

    async def get(self, question: K, now: datetime, count: Callable[[], Awaitable[V]]) -> Counted[V] | None:
        """The count that answers the question; None if it has to be made first and that takes long.

        Raises what `count` raises.
        """
        known = self._known.get(question)
        if known is not None:
            self._known.move_to_end(question)
            if abs(now - known.at) <= self._fresh:
                return known
        task = self._running.get(question)
        if task is None:
            task = asyncio.create_task(self._count(question, now, count), name="count")
            self._running[question] = task
            task.add_done_callback(lambda done: self._ended(question, done))
        is_shown = known is not None and timedelta(0) <= now - known.at <= SHOWN_FOR
        done, _ = await asyncio.wait({task}, timeout=AGAIN_WAIT_S if is_shown else FIRST_WAIT_S)
        if done:
            return task.result()
        return Counted(known.value, known.at, is_old=True) if known is not None and is_shown else None

    async def settled(self) -> None:
        """Wait until nothing is being counted."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def close(self) -> None:
        """End the counts that are being made."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _count(self, question: K, now: datetime, count: Callable[[], Awaitable[V]]) -> Counted[V]:
        async with self._turn:
            found = Counted(await count(), now)
        self._known[question] = found
        self._known.move_to_end(question)
        self._forget()
        return found

    def _forget(self) -> None:
        """Forget the oldest counts until the rest is small enough. The last one always stays: its page comes back."""
        weight = sum(self._weight(each.value) for each in self._known.values())
        while len(self._known) > 1 and (len(self._known) > MOST_KEPT or weight > MOST_WEIGHT):
            _, forgotten = self._known.popitem(last=False)
            weight -= self._weight(forgotten.value)

    def _ended(self, question: K, task: asyncio.Task[Counted[V]]) -> None:
        self._running.pop(question, None)
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may be waiting any more
