"""Keeps the parts that a gate's trigger count has skipped, until their frames come or their grace is over.

Pure: times are monotonic nanoseconds passed in. A skipped part waits for its frame. If the frame comes, the part is
closed. If the grace is over first, the part was missed, and it gets a row without a frame. A skipped part is part of
the gate's stored state until it has a row of either kind, so no restart loses it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from inspector.domain import Gap

REMEMBERED_PARTS: Final = 8192

UNPROVEN_NS: Final = 10_000_000_000
"""A skipped part waits no longer than this, and its grace, for a source that can't prove the age of its frames."""

Part = tuple[int, int]
"""Epoch and count of a part at a gate."""


@dataclass(frozen=True, slots=True)
class Grace:
    """How late a frame may come: `triggers` later parts, or `duration_ns` after its number was skipped."""

    triggers: int
    duration_ns: int


UNGATED_GRACE: Final = Grace(16, 1_000_000_000)
"""The grace of a camera without a gate, whose frames may come in another order too."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the cameras of a gate have come.

    `proven_ns`: a frame that comes now reached its broker after this time; None: no such time can be proved.
    `reached`: all cameras have shown the part with this count of `epoch`; None: one of them has shown none, or a
    camera may still deliver what it kept.
    """

    now_ns: int
    epoch: int
    proven_ns: int | None
    reached: int | None


@dataclass(frozen=True, slots=True)
class _Opened:
    """When a part was skipped (None: by an earlier run), and the count that skipped it."""

    at_ns: int | None
    by_count: int


class OpenGaps:
    """The skipped parts of one gate. One event loop owns it."""

    def __init__(self, grace: Grace) -> None:
        self.grace = grace
        self._waiting: OrderedDict[Part, _Opened] = OrderedDict()
        self._without_row: dict[Part, None] = {}
        self._closed: OrderedDict[Part, None] = OrderedDict()

    @property
    def is_waiting(self) -> bool:
        """Whether a frame of a skipped part may still come within its grace."""
        return bool(self._waiting)

    def waiting(self) -> list[Part]:
        """The skipped parts whose grace is not over."""
        return list(self._waiting)

    def open(self, epoch: int, counts: Iterable[int], at_ns: int | None, by_count: int) -> None:
        """Note parts that the count has skipped. `at_ns` None: the grace begins with the next `take_due`."""
        for count in counts:
            self._waiting[epoch, count] = _Opened(at_ns, by_count)
            self._without_row[epoch, count] = None

    def close(self, epoch: int, count: int) -> None:
        """Note that a frame of this part has come, or that an earlier run found the part missed."""
        if self._waiting.pop((epoch, count), None) is not None:
            self._note_closed((epoch, count))

    def has_row(self, epoch: int, count: int) -> None:
        """Note that this part has a row of either kind, or gets one in the transaction that stores the state."""
        self._without_row.pop((epoch, count), None)
        self.close(epoch, count)

    def forget(self, epoch: int) -> None:
        """Forget the skipped parts of an epoch, because another agent accounts for them."""
        for part in [part for part in self._waiting if part[0] == epoch]:
            self.close(*part)
        self._without_row = {part: None for part in self._without_row if part[0] != epoch}

    def take_due(self, progress: Progress) -> list[Part]:
        """The parts whose grace is over, in order. Each part is returned once."""
        due = sorted(part for part, opened in self._waiting.items() if self._is_due(part, opened, progress))
        for part in due:
            del self._waiting[part]
            self._note_closed(part)
        for part, opened in self._waiting.items():
            if opened.at_ns is None:
                self._waiting[part] = _Opened(progress.now_ns, opened.by_count)
        return due

    def stored(self) -> tuple[Gap, ...]:
        """The skipped parts that have no row yet, as the state of the gate keeps them."""
        gaps: list[Gap] = []
        for epoch, count in sorted(self._without_row):
            if gaps and (gaps[-1].epoch, gaps[-1].last + 1) == (epoch, count):
                gaps[-1] = Gap(epoch, gaps[-1].first, count)
            else:
                gaps.append(Gap(epoch, count, count))
        return tuple(gaps)

    def adopt(self, gaps: Iterable[Gap], by_count: int, *, replaces: bool) -> None:
        """Add the skipped parts of a stored state. `replaces`: that state is further, so there are no other parts."""
        if replaces:
            self._waiting.clear()
            self._without_row.clear()
        known = self._closed.keys() | self._waiting.keys()
        for gap in gaps:
            counts = range(gap.first, gap.last + 1)
            self.open(gap.epoch, (count for count in counts if (gap.epoch, count) not in known), None, by_count)

    def _is_due(self, part: Part, opened: _Opened, progress: Progress) -> bool:
        if opened.at_ns is None:
            return False
        if progress.now_ns - opened.at_ns >= self.grace.duration_ns + UNPROVEN_NS:
            return True
        if progress.proven_ns is not None and progress.proven_ns - opened.at_ns >= self.grace.duration_ns:
            return True
        if progress.reached is None or part[0] != progress.epoch:
            return False
        return progress.reached - opened.by_count >= self.grace.triggers

    def _note_closed(self, part: Part) -> None:
        self._closed[part] = None
        while len(self._closed) > REMEMBERED_PARTS:
            self._closed.popitem(last=False)
