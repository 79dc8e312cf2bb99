"""Tells when the wall clock is set, and when it lies behind what the store has already.

Ages are monotonic, so that nothing on the road depends on the wall clock. But rows and shifts are found by their times.
After a clock was set back, new rows stand among old ones, and a person who reads them must know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from inspector.domain import Event, Severity
from inspector.errors import LedgerUnavailable
from inspector.ports import Clock, Telemetry
from inspector.stream.verdict_record import format_time

PERIOD_S: Final = 5.0

LEAST_STEP: Final = timedelta(seconds=2)
"""A time server that slews the clock moves it by milliseconds between two looks."""

LEAST_BEHIND: Final = timedelta(minutes=1)
"""Clocks of agents that share a store differ a little."""


class ClockWatch:
    """Compares the wall clock with the monotonic one, and at the start with the newest row."""

    def __init__(
        self, clock: Clock, telemetry: Telemetry, newest_row: Callable[[], Awaitable[datetime | None]]
    ) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._newest_row = newest_row
        self._zero = self._now_at_zero()

    async def run(self) -> None:
        """Look at the rows once, then at the clock every `PERIOD_S`, for ever."""
        await self.compare_with_rows()
        while True:
            await self._clock.sleep(PERIOD_S)
            self.look()

    async def compare_with_rows(self) -> None:
        """Tell if the clock is behind the newest row. Nothing is told while the store is away."""
        try:
            newest = await self._newest_row()
        except LedgerUnavailable:
            return
        now = self._clock.now()
        if newest is not None and newest - now > LEAST_BEHIND:
            self._tell(
                "clock_behind",
                f"the clock says {format_time(now)}, but the newest row is of {format_time(newest)}; new rows stand "
                "among older ones until it is set right",
            )

    def look(self) -> None:
        """Tell if the clock was set since the last look."""
        before, self._zero = self._zero, self._now_at_zero()
        step = self._zero - before
        if abs(step) < LEAST_STEP:
            return
        seconds = f"{abs(step).total_seconds():.0f} s"
        how = f"forward by {seconds}, or this machine stood still" if step > timedelta() else f"back by {seconds}"
        self._tell(
            "clock_set",
            f"the clock was set {how}; it says {format_time(self._clock.now())} now, and times of rows before and "
            "after differ by as much",
        )

    def _now_at_zero(self) -> datetime:
        """The wall clock's time at the zero of the monotonic clock. It stays, unless one is set or stands still."""
        return self._clock.now().astimezone(UTC) - timedelta(microseconds=self._clock.monotonic_ns() // 1000)

    def _tell(self, kind: str, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, Severity.WARNING, "clock", detail))
