"""The state that follows from the journal's records. Pure: records read back give the same state as records appended.

An entry lives until its row is recorded. The entry of a frame without ids lives until the broker has also taken
the frame's acknowledgement, since only the entry distinguishes a redelivery from a new frame. For the same reason the
newest reports of PLCs that name no part stay for a while. `tries` counts the
processes that ended while a frame was being tried; equal frames in flight at once count as one.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from inspector.domain import HoldNote, Identity, ResultId
from inspector.store.journal.segment_log import Place
from inspector.stream.action_record import action_from_record
from inspector.stream.verdict_record import hold_from_record

MOST_UNACKNOWLEDGED: Final = 4096
"""Most frames without ids kept after their row was recorded, for brokers that take no acknowledgement."""

MOST_NAMELESS: Final = 256
"""Most reports without a part of their own kept after their row was recorded: more than are unacknowledged at once."""

MOST_COUNT: Final = 2**53
"""Largest order and number of tries. A damaged record may hold any number, and counting continues from it."""

MOST_TRIED: Final = 1024
"""Most tried frames kept, since some frames are never delivered again."""

Tried = tuple[str, str]
"""Camera and SHA-256 of a frame."""


@dataclass(slots=True)
class Entry:
    """One live verdict: its place in the log and later notes about it. `order` is its number among all verdicts.

    The verdict itself is not kept in memory, since there may be half a million verdicts.
    """

    place: Place
    camera: str
    has_frame: bool
    order: int
    is_weak: bool
    is_earlier: bool
    published: bool | None
    hold: HoldNote | None = None
    is_recorded: bool = False
    is_acknowledged: bool = False


@dataclass(slots=True)
class ActionEntry:
    """One live report of a PLC. `names_no_part`: only its entry distinguishes a redelivery from a new report."""

    place: Place
    order: int
    names_no_part: bool
    is_earlier: bool
    is_recorded: bool = False


class JournalIndex:
    """Live entries by result id, live reports of PLCs by their ids, and frames that are or were being tried."""

    def __init__(self) -> None:
        self.entries: dict[ResultId, Entry] = {}
        self.actions: dict[str, ActionEntry] = {}
        self._nameless: dict[str, None] = {}
        self.next_order = 0
        self._tries: dict[Tried, tuple[int, int]] = {}  # the count, and the segment of its newest record
        self._trying: dict[Tried, int] = {}  # segment
        self._unacknowledged: dict[ResultId, None] = {}
        self._live_bytes: dict[int, int] = {}

    def apply(self, record: dict[str, Any], place: Place, *, is_earlier: bool) -> None:
        """Take one record into account. Raises KeyError, TypeError or ValueError for a record that can't be read."""
        match record["k"]:
            case "verdict":
                self._verdict(record, place, is_earlier)
            case "published":
                if entry := self.entries.get(record["id"]):
                    entry.published = record["published"]
            case "recorded":
                self._recorded(record["ids"])
            case "acknowledged":
                self._acknowledged(record["ids"])
            case "action":
                self._action(record, place, is_earlier)
            case "actions_recorded":
                self._actions_recorded(record["ids"])
            case "attempt":
                self._trying[record["camera"], record["sha256"]] = place.segment
            case "tries":
                self._keep_tries((record["camera"], record["sha256"]), _count(record["count"]), place.segment)
            case "close":
                self._trying.clear()
            case unknown:
                raise ValueError(f"a record of kind {unknown!r} is of newer software")

    def tries(self, frame: Tried) -> int:
        """The number of processes that ended while this frame was being tried."""
        return self._tries.get(frame, (0, 0))[0]

    def tried_in_vain(self) -> list[dict[str, Any]]:
        """Records for the frames that the previous process was trying when it ended."""
        return [_tries_record(frame, min(self.tries(frame) + 1, MOST_COUNT)) for frame in self._trying]

    def live_bytes(self, segment: int) -> int:
        """Bytes of live verdicts in a segment."""
        return self._live_bytes.get(segment, 0)

    def in_order(self) -> list[tuple[ResultId, Entry]]:
        """Live entries in the order of their last verdict."""
        return sorted(self.entries.items(), key=lambda item: item[1].order)

    def newest_frames(self, most: int) -> list[tuple[ResultId, Entry]]:
        """The newest `most` entries with a frame of each camera, oldest first."""
        taken: Counter[str] = Counter()
        chosen: list[tuple[ResultId, Entry]] = []
        for result_id, entry in reversed(self.in_order()):
            if entry.has_frame and taken[entry.camera] < most:
                taken[entry.camera] += 1
                chosen.append((result_id, entry))
        return chosen[::-1]

    def oldest(self, segment: int, most: int) -> list[tuple[ResultId, Entry]]:
        """At most `most` live entries of the segment. It must be the oldest segment, whose entries come first."""
        first = itertools.takewhile(lambda item: item[1].place.segment <= segment, self.entries.items())
        return list(itertools.islice(first, most))

    def actions_in_order(self) -> list[tuple[str, ActionEntry]]:
        """Live reports of PLCs in the order of receipt."""
        return sorted(self.actions.items(), key=lambda item: item[1].order)

    def oldest_actions(self, segment: int, most: int) -> list[tuple[str, ActionEntry]]:
        """At most `most` live reports of the oldest segment, as `oldest`."""
        first = itertools.takewhile(lambda item: item[1].place.segment <= segment, self.actions.items())
        return list(itertools.islice(first, most))

    def notes_in(self, segment: int) -> Iterator[dict[str, Any]]:
        """Records about tried frames that only this segment holds, to be copied."""
        for frame, (count, at) in list(self._tries.items()):
            if at == segment:
                yield _tries_record(frame, count)
        for (camera, sha256), at in list(self._trying.items()):
            if at == segment:
                yield {"k": "attempt", "camera": camera, "sha256": sha256}

    def forget_segment(self, segment: int) -> None:
        """Note that the segment was removed. It held no live entry."""
        self._live_bytes.pop(segment, None)

    def _verdict(self, record: dict[str, Any], place: Place, is_earlier: bool) -> None:
        verdict, order = _verdict_in(record), _count(record["order"])
        result_id, sha256 = ResultId(verdict["result_id"]), verdict["frame_sha256"]
        entry = Entry(
            place=place,
            camera=sys.intern(verdict["camera"]),
            has_frame=sha256 is not None,
            order=order,
            is_weak=verdict["identity"] == Identity.WEAK.value and sha256 is not None,
            is_earlier=is_earlier,
            published=verdict["published"],
            hold=hold_from_record(record["hold"]) if record.get("hold") is not None else None,
            is_recorded=record.get("recorded", False),
            is_acknowledged=record.get("acknowledged", False),
        )
        self._drop(result_id)
        self.entries[result_id] = entry
        self.next_order = max(self.next_order, min(order + 1, MOST_COUNT))
        self._live_bytes[place.segment] = self.live_bytes(place.segment) + place.size_bytes
        if sha256 is not None:
            self._tries.pop((verdict["camera"], sha256), None)
            self._trying.pop((verdict["camera"], sha256), None)
        self._settle(result_id, entry)

    def _action(self, record: dict[str, Any], place: Place, is_earlier: bool) -> None:
        action, order = action_from_record(record["action"]), _count(record["order"])
        is_recorded = record.get("recorded", False)
        self._drop_action(action.report_id)
        self.actions[action.report_id] = ActionEntry(place, order, action.in_flight, is_earlier, is_recorded)
        self.next_order = max(self.next_order, min(order + 1, MOST_COUNT))
        self._live_bytes[place.segment] = self.live_bytes(place.segment) + place.size_bytes
        if is_recorded:
            self._settle_action(action.report_id)

    def _actions_recorded(self, report_ids: Iterable[str]) -> None:
        for report_id in report_ids:
            if entry := self.actions.get(report_id):
                entry.is_recorded = True
                self._settle_action(report_id)

    def _settle_action(self, report_id: str) -> None:
        if not self.actions[report_id].names_no_part:
            self._drop_action(report_id)
            return
        self._nameless[report_id] = None
        if len(self._nameless) > MOST_NAMELESS:
            self._drop_action(next(iter(self._nameless)))

    def _drop_action(self, report_id: str) -> None:
        self._nameless.pop(report_id, None)
        if entry := self.actions.pop(report_id, None):
            self._live_bytes[entry.place.segment] -= entry.place.size_bytes

    def _recorded(self, result_ids: Iterable[ResultId]) -> None:
        for result_id in result_ids:
            if entry := self.entries.get(result_id):
                entry.is_recorded = True
                self._settle(result_id, entry)

    def _acknowledged(self, result_ids: Iterable[ResultId]) -> None:
        for result_id in result_ids:
            if entry := self.entries.get(result_id):
                entry.is_acknowledged = True
                self._settle(result_id, entry)

    def _settle(self, result_id: ResultId, entry: Entry) -> None:
        if not entry.is_recorded:
            return
        if entry.is_acknowledged or not entry.is_weak:
            self._drop(result_id)
            return
        self._unacknowledged[result_id] = None
        if len(self._unacknowledged) > MOST_UNACKNOWLEDGED:
            self._drop(next(iter(self._unacknowledged)))

    def _drop(self, result_id: ResultId) -> None:
        self._unacknowledged.pop(result_id, None)
        if entry := self.entries.pop(result_id, None):
            self._live_bytes[entry.place.segment] -= entry.place.size_bytes

    def _keep_tries(self, frame: Tried, count: int, segment: int) -> None:
        self._trying.pop(frame, None)
        self._tries.pop(frame, None)
        self._tries[frame] = (count, segment)
        if len(self._tries) > MOST_TRIED:
            del self._tries[next(iter(self._tries))]


def _verdict_in(record: dict[str, Any]) -> dict[str, Any]:
    """The verdict in a record. A faulty record raises here, before the index changes, and not when it is read back."""
    verdict, decision = record["verdict"], record["decision"]
    if not isinstance(verdict, dict) or not (decision is None or isinstance(decision, dict)):
        raise ValueError("its verdict or its decision is no table")
    for key in ("result_id", "camera", "frame_sha256"):
        if not isinstance(verdict[key], str) and (key != "frame_sha256" or verdict[key] is not None):
            raise ValueError(f"its {key} is not text")
    return verdict


def _count(found: object) -> int:
    if type(found) is not int or not 0 <= found <= MOST_COUNT:
        raise ValueError(f"{found!r} counts nothing")
    return found


def _tries_record(frame: Tried, count: int) -> dict[str, Any]:
    return {"k": "tries", "camera": frame[0], "sha256": frame[1], "count": count}
