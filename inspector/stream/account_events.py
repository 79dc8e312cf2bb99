"""The parts that an event of the account names, as text and read back from it. Pure.

An agent that starts again reads from the stored events which parts were told before, so that none is told twice and
none is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from inspector.domain import Event, Part
from inspector.stream.digest import ranges_text

_NAMED: Final = re.compile(r"triggers? ([0-9][0-9 to,]*?)(?: and [0-9]+ more)? of epoch ([0-9]+)")
_RANGE: Final = re.compile(r"([0-9]+)(?: to ([0-9]+))?")
_CUT: Final = re.compile(r" and others|[0-9] and [0-9]+ more of epoch |the first at ")
"""An event that does not name all of its parts, because they are too many or have no triggers."""


def parts_text(parts: Sequence[Part]) -> str:
    """The parts as an event names them."""
    if any(part.trigger_id is None for part in parts):
        return f"the first at {min(part.at for part in parts):%H:%M:%S} UTC"
    said = []
    for epoch in sorted({part.epoch for part in parts}):
        triggers = sorted({part.trigger_id for part in parts if part.epoch == epoch and part.trigger_id is not None})
        said.append(f"trigger{'' if len(triggers) == 1 else 's'} {ranges_text(triggers)} of epoch {epoch}")
    return "; ".join(said)


class ToldParts:
    """The parts of one gate that stored events tell of. An event tells of all parts that were due before it."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._named: dict[str, list[tuple[int, int, int]]] = {}
        self._all_before: dict[str, datetime] = {}
        for event in events:
            self._named.setdefault(event.kind, []).extend(_ranges(event.detail))
            if _CUT.search(event.detail):
                known = self._all_before.get(event.kind, event.at)
                self._all_before[event.kind] = max(known, event.at)

    def has(self, kind: str, part: Part, due: datetime) -> bool:
        """Whether an event of this kind tells of the part, which was to be looked at when it was `due`."""
        told = self._all_before.get(kind)
        if told is not None and due <= told:
            return True
        trigger = part.trigger_id
        if trigger is None:
            return False
        named = self._named.get(kind, ())
        return any(epoch == part.epoch and first <= trigger <= last for epoch, first, last in named)


def _ranges(detail: str) -> list[tuple[int, int, int]]:
    """Epoch, first and last trigger of each range that the text names."""
    found = []
    for triggers, epoch in _NAMED.findall(detail):
        for first, last in _RANGE.findall(triggers):
            found.append((int(epoch), int(first), int(last or first)))
    return found
