"""Collects what happens often, so that people are told of it once and then at most once in an interval.

Pure: times are monotonic nanoseconds passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MOST_RANGES: Final = 8


@dataclass(slots=True)
class _Subject(Generic[T]):
    told_ns: int | None = None
    items: list[T] = field(default_factory=list)


class Digest(Generic[T]):
    """Items by subject. The first ones are told at once, and later ones together when the interval is over."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._subjects: dict[str, _Subject[T]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether there are items that were not told yet."""
        return any(subject.items for subject in self._subjects.values())

    def add(self, subject: str, items: Iterable[T]) -> None:
        """Note items of a subject."""
        self._subjects.setdefault(subject, _Subject()).items.extend(items)

    def discard(self, subject: str, is_settled: Callable[[T], bool]) -> None:
        """Forget items of a subject that were not told yet."""
        known = self._subjects.get(subject)
        if known is not None:
            known.items = [item for item in known.items if not is_settled(item)]

    def waiting(self, subject: str) -> list[T]:
        """The items of a subject that were not told yet."""
        known = self._subjects.get(subject)
        return list(known.items) if known is not None else []

    def take(self, now_ns: int, *, is_last: bool = False) -> list[tuple[str, list[T]]]:
        """Subjects to tell of now, with their items since the last time. `is_last`: without a wait for the interval."""
        told: list[tuple[str, list[T]]] = []
        for name, subject in self._subjects.items():
            is_early = subject.told_ns is not None and now_ns - subject.told_ns < self._interval_ns
            if subject.items and (is_last or not is_early):
                told.append((name, subject.items))
                subject.items, subject.told_ns = [], now_ns
        return told


def ranges_text(numbers: Sequence[int]) -> str:
    """The numbers as text, in the given order and rising neighbours as a range: `5, 7 to 9`. A long text is cut."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] + 1 == number:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    text = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges[:MOST_RANGES])
    left = sum(last - first + 1 for first, last in ranges[MOST_RANGES:])
    return f"{text} and {left} more" if left else text
