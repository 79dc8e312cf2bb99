"""Forms of numbers, times and words on pages. Pure."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final

UNKNOWN: Final = "\u2013"
"""A dash, for a value that is not known."""


def ago(moment: datetime | None, now: datetime) -> str:
    """For example "just now", "14 s ago", "3 min ago", "2 h ago", "4 days ago"; "never" without a time."""
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    if seconds < 1:
        return "just now"
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """A length of time in one unit."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def clock_time(moment: datetime | None, zone: tzinfo) -> str:
    """The time of day with seconds."""
    return "" if moment is None else f"{moment.astimezone(zone):%H:%M:%S}"


def date_time(moment: datetime | None, zone: tzinfo) -> str:
    """Day and time, for example 2026-03-01 14:05:09."""
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def to_the_minute(moment: datetime | None, zone: tzinfo) -> str:
    """Day and time without seconds."""
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


def percent(share: float | None) -> str:
    """With as many digits as make a difference: 99.2 %, 99.98 %, 3 %. A dash where the share is not known."""
    if share is None:
        return UNKNOWN
    value = 100.0 * share
    if value in (0.0, 100.0):
        return f"{value:.0f} %"
    digits = 2 if value > 99.5 or value < 0.5 else 1
    shown = f"{value:.{digits}f}"
    if shown in ("100.00", "0.00"):  # a single reject among many must not be rounded away
        return "> 99.99 %" if value > 50 else "< 0.01 %"
    return f"{shown} %"


def level(value: float) -> str:
    """A level beside its threshold, which is 1.00. One that is not at it never reads as if it were: 0.997, not 1.00."""
    digits = 2
    while value != 1.0 and digits < 6 and float(f"{value:.{digits}f}") == 1.0:
        digits += 1
    return f"{value:.{digits}f}"


def number(value: float | None, digits: int = 0) -> str:
    """With thin spaces between thousands; a dash where there is none."""
    if value is None:
        return UNKNOWN
    return f"{value:,.{digits}f}".replace(",", "\u202f")
