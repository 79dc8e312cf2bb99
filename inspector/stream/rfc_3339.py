"""Times that other programs write: of cameras and of commands. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_LEAP_SECOND: Final = re.compile(r"(?<=T\d\d:\d\d:)60")


def parse_rfc_3339(text: str) -> datetime:
    """The time in UTC. Raises ValueError for anything but a time with its zone.

    The letters may be small, and a leap second (60) is the second after it.
    """
    capital = text.upper()
    before = _LEAP_SECOND.sub("59", capital)
    moment = datetime.fromisoformat(before)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    try:
        return moment.astimezone(UTC) + timedelta(seconds=before != capital)
    except OverflowError as error:  # a time in the first or last hours of the calendar
        raise ValueError(f"the time {text!r} lies beyond the calendar in UTC") from error
