"""Decides when a batch is full or due, and which frame goes first. Pure: the clock is passed in.

Frames wait in the order of their deadlines; frames without a deadline come last, in order of arrival.
A batch holds frames of one `key` only. It is ready when it is full, when its oldest frame has waited
long enough, or when the nearest deadline leaves no time for another wait.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

NEVER_NS = 2**63 - 1


@dataclass(order=True, slots=True)
class _Waiting(Generic[T]):
    deadline_ns: int
    order: int
    item: T = field(compare=False)
    camera: str = field(compare=False)


class WaitingLine(Generic[T]):
    """Frames waiting for a worker, nearest deadline first. Each camera has a bound of its own.

    A camera that sends too fast fills only its own share, so it never causes a frame of another camera to be shed.
    """

    def __init__(self, bound_per_camera: int) -> None:
        self._bound = bound_per_camera
        self._heap: list[_Waiting[T]] = []
        self._waiting: dict[str, int] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._heap)

    def has_room(self, camera: str) -> bool:
        return self._waiting.get(camera, 0) < self._bound

    def put(self, item: T, camera: str, deadline_ns: int | None) -> None:
        """Add a frame without a check of the bound: the caller asks `has_room` first, and waits or sheds the frame."""
        self._order += 1
        heapq.heappush(self._heap, _Waiting(deadline_ns or NEVER_NS, self._order, item, camera))
        self._waiting[camera] = self._waiting.get(camera, 0) + 1

    def take(self) -> T | None:
        """The frame with the nearest deadline, or the oldest frame if none has a deadline; None when no frame waits."""
        if not self._heap:
            return None
        waiting = heapq.heappop(self._heap)
        left = self._waiting[waiting.camera] - 1
        if left:
            self._waiting[waiting.camera] = left
        else:
            del self._waiting[waiting.camera]
        return waiting.item


@dataclass(frozen=True, slots=True)
class _Member(Generic[T]):
    item: T
    since_ns: int
    deadline_ns: int
    order: int


class Batcher(Generic[T]):
    """Collects items by key, and hands out batches that are full or due."""

    def __init__(self, largest: int, wait_ns: int) -> None:
        if wait_ns < 0:
            raise ValueError("a batch never waits a negative time")
        self.largest = largest
        self._wait_ns = wait_ns
        self._members: dict[str, list[_Member[T]]] = {}
        self._order = 0

    def __len__(self) -> int:
        return sum(len(members) for members in self._members.values())

    @property
    def largest(self) -> int:
        """Most items of a batch. It may change at any time."""
        return self._largest

    @largest.setter
    def largest(self, count: int) -> None:
        if count < 1:
            raise ValueError("a batch holds at least one frame")
        self._largest = count

    def add(self, key: str, item: T, now_ns: int, deadline_ns: int | None = None) -> None:
        self._order += 1
        self._members.setdefault(key, []).append(_Member(item, now_ns, deadline_ns or NEVER_NS, self._order))

    def next_due_ns(self) -> int | None:
        """When `take` will have a batch if no more items come; None when no item waits."""
        if not self._members:
            return None
        return min(self._due_ns(members) for members in self._members.values())

    def take(self, now_ns: int, hurry: bool = False) -> list[T]:
        """A batch that is full or due, at most `largest` items, nearest deadline first; empty if no batch is ready.

        `hurry`: no more items are on their way, so every batch counts as due.
        """
        ready = [key for key, members in self._members.items() if hurry or self._due_ns(members) <= now_ns]
        if not ready:
            return []
        key = min(ready, key=lambda k: min((m.deadline_ns, m.order) for m in self._members[k]))
        members = sorted(self._members.pop(key), key=lambda m: (m.deadline_ns, m.order))
        chosen, left = members[: self._largest], members[self._largest :]
        if left:
            self._members[key] = left
        return [member.item for member in chosen]

    def _due_ns(self, members: list[_Member[T]]) -> int:
        if len(members) >= self._largest:
            return 0
        oldest = min(member.since_ns for member in members)
        nearest = min(member.deadline_ns for member in members)
        return min(oldest + self._wait_ns, nearest - self._wait_ns)
