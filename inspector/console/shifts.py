"""Shifts of the plant: when the present one began, and the ones before it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

_DAYS_BACK = 3


@dataclass(frozen=True, slots=True)
class Shift:
    """From `begin` until `end`, not included. Both are in UTC."""

    begin: datetime
    end: datetime


def shift_at(moment: datetime, times: Sequence[str], zone: tzinfo) -> Shift:
    """The shift that the moment lies in. `times`: when shifts begin, HH:MM in the zone."""
    begins = _begins(moment, times, zone)
    begin = max(each for each in begins if each <= moment)
    end = min(each for each in begins if each > begin)
    return Shift(begin, end)


def shifts_before(moment: datetime, times: Sequence[str], zone: tzinfo, count: int) -> list[Shift]:
    """The shift of the moment and the ones before it, newest first."""
    found = [shift_at(moment, times, zone)]
    while len(found) < count:
        found.append(shift_at(found[-1].begin - timedelta(microseconds=1), times, zone))
    return found


def _begins(moment: datetime, times: Sequence[str], zone: tzinfo) -> list[datetime]:
    """The beginnings of all shifts from two days before the moment until two days after it, in UTC."""
    today = moment.astimezone(zone).date()
    days = [today + timedelta(days=offset) for offset in range(1 - _DAYS_BACK, _DAYS_BACK)]
    clocks = [time.fromisoformat(each) for each in times]
    return sorted({datetime.combine(day, clock, zone).astimezone(UTC) for day in days for clock in clocks})
