"""Tells what may happen with every message of a camera, at a bounded rate.

What is kept for the pause is told when it is over, whether or not more comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from inspector.ports import Clock
from inspector.stream.pauses import LOOK_S, Pause

MOST_DETAILS: Final = 4
"""Different details that one event names."""


@dataclass(slots=True)
class _Kind:
    pause: Pause
    count: int = 0
    details: dict[str, None] = field(default_factory=dict)


class Tally:
    """Tells each kind of event at most once in a pause. `tell` gets the kind and the detail."""

    def __init__(self, clock: Clock, tell: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._kinds: dict[str, _Kind] = {}
        self._looking: asyncio.Task[None] | None = None

    def note(self, kind: str, detail: str) -> None:
        """Tell the event, or count it for the next one of its kind. Call on the event loop."""
        now_ns = self._clock.monotonic_ns()
        known = self._kinds.get(kind)
        if known is None or (not known.count and known.pause.is_forgotten(now_ns)):
            self._kinds[kind] = _Kind(Pause.first(now_ns))
            self._tell(kind, detail)
            return
        known.count += 1
        if len(known.details) < MOST_DETAILS:
            known.details[detail] = None
        self._tell_due()
        if self._looking is None and self._is_waiting:
            self._looking = asyncio.create_task(self._look(), name="tally")

    def finish(self) -> None:
        """Tell what waits, without waiting for the pause."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._tell_due(is_last=True)

    @property
    def _is_waiting(self) -> bool:
        return any(known.count for known in self._kinds.values())

    def _tell_due(self, *, is_last: bool = False) -> None:
        now_ns = self._clock.monotonic_ns()
        for kind, known in self._kinds.items():
            if not known.count or not (is_last or known.pause.is_over(now_ns)):
                continue
            self._kinds[kind] = _Kind(known.pause.longer(now_ns))
            times = f"{known.count} times, " if known.count > 1 else ""
            self._tell(kind, f"since the last such event: {times}{'; '.join(known.details)}")

    async def _look(self) -> None:
        """Tell what is due until nothing waits."""
        while self._is_waiting:
            await self._clock.sleep(LOOK_S)
            self._tell_due()
        self._looking = None
