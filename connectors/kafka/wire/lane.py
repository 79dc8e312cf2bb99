"""One partition in one assignment: waiting records, records under way, and the offset to commit. No I/O.

A lane is bounded in frames and bytes; the poll loop asks `wants_more` before it fills it. A frame that waited in the
broker when the partition was assigned is backlog: its offset is below the end of the partition at that moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from connectors.kafka.records import Arrived
from inspector.domain import Position
from inspector.stream.age import AgeBound

KEPT_BOUNDS: Final = 256
"""Most answers about the end that are kept for one partition. A record older than all answers has no bound."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on the records of one partition that are held here."""

    frames: int
    size_bytes: int
    in_flight: int


@dataclass(slots=True)
class _HandedOut:
    offset: int
    is_done: bool


class Lane:
    """The records of one partition that are held here. Each assignment makes a new lane."""

    def __init__(self, partition: TopicPartition, generation: int, bounds: Bounds) -> None:
        self.partition = partition
        self.generation = generation
        self.stream = f"kafka:{partition.topic}/{partition.partition}"
        self.is_closed = False
        self.end_offset: int | None = None
        self._bounds = bounds
        self._waiting: deque[Arrived] = deque()
        self._waiting_bytes = 0
        self._handed_out: deque[_HandedOut] = deque()
        self._offered: int | None = None  # taken by `next`, not yet handed out
        self._changed = asyncio.Event()
        self._is_full = False
        self._next_offset: int | None = None
        self.expected_offset: int | None = None
        """The offset of the record that comes next if none is missing; None if it is not known."""
        self._age: AgeBound | None = None
        self._bounds_of_age: deque[tuple[int, int]] = deque(maxlen=KEPT_BOUNDS)

    @property
    def wants_more(self) -> bool:
        """Whether the lane may be filled. False from full until half empty, so that pauses of a partition are rare."""
        share = 0.5 if self._is_full else 1.0
        has_room = (
            len(self._waiting) < max(1, share * self._bounds.frames)
            and self._waiting_bytes < share * self._bounds.size_bytes
        )
        self._is_full = not has_room
        return has_room and not self.is_closed

    @property
    def is_settled(self) -> bool:
        """Whether every record that was handed out has been acknowledged."""
        return not self._handed_out

    @property
    def first_offset(self) -> int | None:
        """The lowest offset that is held here and not acknowledged; None if there is no such offset."""
        if self._handed_out:
            return self._handed_out[0].offset
        if self._offered is not None:
            return self._offered
        return self._waiting[0].record.offset if self._waiting else None

    def open(self, end_offset: int) -> None:
        """Allow deliveries. `end_offset` is the end of the partition at its assignment."""
        self.end_offset = end_offset
        if self._next_offset is None:
            self._next_offset = end_offset
        self._changed.set()

    def close(self) -> None:
        """Deliver no more records. Records that waited here stay with the broker."""
        self.is_closed = True
        self._waiting.clear()
        self._waiting_bytes = 0

    def expect(self, offset: int) -> None:
        """Note where the group's reading begins, unless a record has come already."""
        if self.expected_offset is None:
            self.expected_offset = offset

    def put(self, records: Iterable[Arrived]) -> None:
        """Add records in the order of their offsets. They may exceed the bounds; `wants_more` is then False."""
        for arrived in records:
            self._next_offset = self.expected_offset = arrived.record.offset + 1
            self._waiting.append(arrived)
            self._waiting_bytes += arrived.size_bytes
        self._changed.set()

    async def next(self) -> Arrived:
        """Wait for the next record. It waits while `in_flight` records are unacknowledged."""
        while not self._waiting or self.end_offset is None or len(self._handed_out) >= self._bounds.in_flight:
            self._changed.clear()
            await self._changed.wait()
        arrived = self._waiting.popleft()
        self._waiting_bytes -= arrived.size_bytes
        self._offered = arrived.record.offset
        return arrived

    def position_of(self, offset: int) -> Position:
        return Position(self.stream, self.generation, offset)

    def is_backlog(self, offset: int) -> bool:
        return self.end_offset is not None and offset < self.end_offset

    def watch_age(self, period_ns: int, now_ns: int) -> None:
        """Bound the ages of records from now on, by queries for the end of the partition."""
        self._age = AgeBound(period_ns)
        self._age.begin(now_ns, is_fresh=False)

    @property
    def is_age_watched(self) -> bool:
        return self._age is not None

    def asked(self, now_ns: int) -> int | None:
        """Begin a query for the end of the partition. Returns the query's number; None while no query is due."""
        due_ns = None if self._age is None else self._age.due_ns()
        return None if self._age is None or due_ns is None or due_ns > now_ns else self._age.send(now_ns)

    def answered(self, number: int, end_offset: int, now_ns: int) -> None:
        """Take the answer to a query, the end of the log. Records from there on were appended after it was sent."""
        if self._age is not None and self._age.returned(number, now_ns) and self._age.not_before_ns is not None:
            self._bounds_of_age.append((end_offset, self._age.not_before_ns))

    def unanswered(self, now_ns: int) -> None:
        """Note that a query got no answer. New records have no bound until the next answer."""
        if self._age is not None:
            self._age.begin(now_ns, is_fresh=False)

    def not_before_ns(self, offset: int) -> int | None:
        """The earliest time at which the record can have been appended; None if it is not known."""
        bounds = (not_before_ns for end, not_before_ns in reversed(self._bounds_of_age) if end <= offset)
        return next(bounds, None)

    def next_not_before_ns(self) -> int | None:
        """The earliest time at which the next record to deliver can have been appended; None if it is not known."""
        if self._waiting:
            return self.not_before_ns(self._waiting[0].record.offset)
        return None if self._next_offset is None else self.not_before_ns(self._next_offset)

    def hand_out(self, offset: int, *, is_done: bool = False) -> None:
        """Note a record that was delivered, in order. `is_done`: it is not for the road and needs no verdict."""
        self._offered = None
        self._handed_out.append(_HandedOut(offset, is_done))

    def settle(self, offset: int | None = None) -> int | None:
        """Note that the records up to `offset` are durable.

        Returns the offset to commit: the offset after the longest finished prefix, or None if the prefix has not grown.
        """
        if offset is not None:
            for each in self._handed_out:
                if each.offset > offset:
                    break
                each.is_done = True
        last: int | None = None
        while self._handed_out and self._handed_out[0].is_done:
            last = self._handed_out.popleft().offset
        if last is None:
            return None
        self._changed.set()
        return last + 1
