"""Finds the positions to record and acknowledge: the longest finished prefix of each stream, in delivery order.

Pure. Offsets rise but may have holes (Kafka), and a stream starts anew with each generation
(a reconnect, a rebalance). A position that finishes early waits: it is released exactly once, after
all positions opened before it in its stream and generation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from inspector.domain import Position

T = TypeVar("T")


@dataclass(slots=True)
class _Slot(Generic[T]):
    position: Position
    is_finished: bool = False
    value: T | None = None


@dataclass(frozen=True, slots=True)
class Released(Generic[T]):
    """A finished position, with the value given to `finish`. All positions before it are finished too."""

    position: Position
    value: T | None


class Watermark(Generic[T]):
    """Releases positions in the order they were opened. Not thread-safe: one event loop owns it."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int], deque[_Slot[T]]] = {}
        self._slots: dict[Position, _Slot[T]] = {}

    def open(self, position: Position) -> None:
        """Open a position. Call in delivery order. Raises ValueError for a position that is open already."""
        if position in self._slots:
            raise ValueError(f"{position} is open already")
        slot: _Slot[T] = _Slot(position)
        self._slots[position] = slot
        self._lines.setdefault((position.stream, position.generation), deque()).append(slot)

    def finish(self, position: Position, value: T | None) -> list[Released[T]]:
        """Finish a position. Returns the positions to release now, oldest first. Raises KeyError if it isn't open."""
        slot = self._slots[position]
        if slot.is_finished:
            raise KeyError(f"{position} is finished already")
        slot.is_finished = True
        slot.value = value
        key = (position.stream, position.generation)
        line = self._lines[key]
        released: list[Released[T]] = []
        while line and line[0].is_finished:
            head = line.popleft()
            del self._slots[head.position]
            released.append(Released(head.position, head.value))
        if not line:
            del self._lines[key]
        return released

    @property
    def open_count(self) -> int:
        """Positions opened and not yet released."""
        return len(self._slots)
