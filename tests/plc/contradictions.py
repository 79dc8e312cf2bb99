"""What a run says that can't be true, and the events with which the agent has to answer.

Pure. A contradiction counts as seen if at least one event of a fitting kind names the camera or the gate: events have a
limit of their rate, so their number says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

DONE_OTHERWISE: Final = "done otherwise than told"
SECOND_REPORT: Final = "second report says something else"
NO_TRIGGER_ID: Final = "frame without trigger id"
CLOCK_OFF: Final = "camera clock an hour off"
PASSED_UNSEEN: Final = "passed by default without any frame"

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    DONE_OTHERWISE: ("ack_other_than_told",),
    SECOND_REPORT: ("ack_contradicts",),
    NO_TRIGGER_ID: ("no_trigger_id", "storm"),
    CLOCK_OFF: ("camera_clock_off",),
    PASSED_UNSEEN: ("ack_without_frame",),
}
"""Kinds of events by contradiction; any of them will do."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """`count` times this was said at one gate. `seen_as`: the kinds of the events that answer it."""

    gate: str
    what: str
    count: int
    seen_as: tuple[str, ...]


def answered(caused: Iterable[tuple[str, str, str, int]], events: Sequence[Mapping[str, Any]]) -> list[Contradiction]:
    """`caused`: gate, camera, contradiction and how often. Those that were caused never are left out."""
    told = []
    for gate, camera, what, count in caused:
        if not count:
            continue
        seen = {event["kind"] for event in events if event["subject"] in (gate, camera)}
        told.append(Contradiction(gate, what, count, tuple(kind for kind in KINDS[what] if kind in seen)))
    return told
