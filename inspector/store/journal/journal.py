"""The journal: verdicts on this machine's disk, from before a decision is published until the rows are recorded.

Reports of PLCs are kept here too, from before they are acknowledged until their rows are recorded. An entry survives
kill -9 once `append_*` returns, and power loss once `sync` returns. The oldest segment is removed first, after its live
entries were copied into the newest, so a note is never removed before its verdict. Times that are read back have
milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import orjson

from inspector.domain import Decision, GateAction, HoldNote, ResultId, Sighting, Verdict
from inspector.errors import JournalDamaged, JournalFull, StateUnusable
from inspector.store.journal.index import Entry, JournalIndex
from inspector.store.journal.segment_log import Place, SegmentLog
from inspector.stream.action_record import action_from_record, action_record
from inspector.stream.verdict_record import (
    decision_from_record,
    decision_record,
    hold_record,
    journal_record,
    sighting_of,
    verdict_from_record,
)

_LOG = logging.getLogger(__name__)
_LEAST_SEGMENTS: Final = 8
"""Least number of segments within the bound, because space is freed by whole segments."""

_MOST_LIVE: Final = 0.25
_MOST_LIVE_WHEN_FULL: Final = 0.75
"""Largest share of a segment that is copied to free the rest, when space is short."""

_MOST_COPIED: Final = 64
"""Entries copied at a time."""


class FileJournal:
    """The port `Journal` on segment files in `folder`, which is made if it is missing.

    `max_bytes` bounds all files together; `segment_bytes` bounds one file. Entering raises StateUnusable while
    another process holds the folder, or if the folder can't be read and written.
    """

    def __init__(self, folder: Path, *, max_bytes: int, segment_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._log = SegmentLog(folder, max(1, min(segment_bytes, max_bytes // _LEAST_SEGMENTS)))
        self._index = JournalIndex()
        self._owed: list[dict[str, Any]] = []
        self._resources = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            self._note({"k": "close"})
            await self.sync()
        except JournalFull as error:
            _LOG.error("the journal was closed without its last notes: %s", error)
        finally:
            await asyncio.to_thread(self._resources.close)

    @property
    def damage(self) -> list[JournalDamaged]:
        """The stretches that could not be read at opening. The records before and after them were kept."""
        return self._log.damage

    def append_attempt(self, camera: str, sha256: str) -> int:
        """Note an attempt. Returns how many processes ended while this frame was being tried. Raises JournalFull."""
        self._check_room()
        self._append({"k": "attempt", "camera": camera, "sha256": sha256})
        return self.tries(camera, sha256)

    def tries(self, camera: str, sha256: str) -> int:
        return self._index.tries((camera, sha256))

    def append_verdict(self, verdict: Verdict, decision: Decision | None, hold: HoldNote | None = None) -> None:
        self._check_room()
        record = {
            "k": "verdict",
            "order": self._index.next_order,
            "verdict": journal_record(verdict),
            "decision": None if decision is None else decision_record(decision),
        }
        self._append(record if hold is None else record | {"hold": hold_record(hold)})

    def append_published(self, result_id: ResultId, published: bool | None) -> None:
        self._note({"k": "published", "id": result_id, "published": published})

    def append_acknowledged(self, result_ids: Sequence[ResultId]) -> None:
        self._note({"k": "acknowledged", "ids": list(result_ids)})
        self._free_segments()

    def append_recorded(self, result_ids: Sequence[ResultId]) -> None:
        self._note({"k": "recorded", "ids": list(result_ids)})
        self._free_segments()

    def append_gate_action(self, action: GateAction) -> None:
        self._check_room()
        self._append({"k": "action", "order": self._index.next_order, "action": action_record(action)})

    def append_gate_actions_recorded(self, report_ids: Sequence[str]) -> None:
        self._note({"k": "actions_recorded", "ids": list(report_ids)})
        self._free_segments()

    async def sync(self) -> None:
        self._pay_if_room()  # a note may wait: without it a row is only written once more
        await self._log.ensure_durable()

    def unrecorded(self) -> list[ResultId]:
        return [result_id for result_id, entry in self._index.in_order() if entry.is_earlier and not entry.is_recorded]

    def read(self, result_ids: Sequence[ResultId]) -> list[tuple[Verdict, Decision | None]]:
        entries = ((result_id, self._index.entries.get(result_id)) for result_id in result_ids)
        wanted = [(result_id, entry) for result_id, entry in entries if entry is not None and not entry.is_recorded]
        return [(verdict, decision) for _, verdict, decision in self._read(wanted)]

    def unrecorded_gate_actions(self) -> list[str]:
        entries = self._index.actions_in_order()
        return [report_id for report_id, entry in entries if entry.is_earlier and not entry.is_recorded]

    def read_gate_actions(self, report_ids: Sequence[str]) -> list[GateAction]:
        entries = (self._index.actions.get(report_id) for report_id in report_ids)
        wanted = (entry for entry in entries if entry is not None and not entry.is_recorded)
        return [self._action_at(entry.place) for entry in wanted]

    def nameless_gate_actions(self) -> list[GateAction]:
        entries = self._index.actions_in_order()
        return [self._action_at(entry.place) for _, entry in entries if entry.names_no_part]

    def holds(self) -> list[HoldNote]:
        entries = (entry for _, entry in self._index.in_order() if entry.is_earlier and not entry.is_recorded)
        return [entry.hold for entry in entries if entry.hold is not None]

    def sightings(self, most: int) -> list[Sighting]:
        return [
            sighting_of(verdict, verdict.frame_sha256, acknowledged=entry.is_acknowledged)
            for entry, verdict, _ in self._read(self._index.newest_frames(most))
            if verdict.frame_sha256 is not None
        ]

    @property
    def size_bytes(self) -> int:
        return self._log.size_bytes

    @property
    def limit_bytes(self) -> int:
        return self._max_bytes

    def _open(self) -> None:
        with contextlib.ExitStack() as undo:
            undo.enter_context(self._log)
            for place, payload in self._log.records():
                try:
                    self._index.apply(orjson.loads(payload), place, is_earlier=True)
                except (KeyError, TypeError, ValueError) as error:
                    self._lose(f"A record of journal segment {place.segment} is of another kind: {error!r}")
            for record in self._index.tried_in_vain():
                self._note(record)
            self._free_segments()
            self._resources = undo.pop_all()

    def _lose(self, what: str) -> None:
        self.damage.append(JournalDamaged(what))
        _LOG.error("%s", what)

    def _read(self, entries: Iterable[tuple[ResultId, Entry]]) -> Iterator[tuple[Entry, Verdict, Decision | None]]:
        """These live entries, read one by one, with the later notes about them."""
        for result_id, entry in entries:
            record = self._folded(entry)
            decision = record["decision"]
            try:
                verdict = verdict_from_record(record["verdict"])
                yield entry, verdict, None if decision is None else decision_from_record(decision, verdict)
            except ValueError as error:
                self._lose(f"The journal's entry {result_id} is of other software and stays unrecorded: {error}")

    def _folded(self, entry: Entry) -> dict[str, Any]:
        """The record of an entry, with the later notes merged in."""
        record = self._record_at(entry.place)
        record["verdict"]["published"] = entry.published
        return record | {"recorded": entry.is_recorded, "acknowledged": entry.is_acknowledged}

    def _record_at(self, place: Place) -> dict[str, Any]:
        try:
            record: dict[str, Any] = orjson.loads(self._log.read(place))
        except orjson.JSONDecodeError as error:
            raise StateUnusable("The journal can't be read back; check its disk before it loses more.") from error
        return record

    def _action_at(self, place: Place) -> GateAction:
        return action_from_record(self._record_at(place)["action"])

    def _check_room(self) -> None:
        if self._log.size_bytes >= self._max_bytes:
            limit = f"{self._max_bytes / 2**20:g} MiB"
            raise JournalFull(f"The journal has reached its {limit}; bring the database back or raise journal.max_mib.")

    def _append(self, record: dict[str, Any], *, is_earlier: bool = False) -> None:
        self._pay()
        self._index.apply(record, self._log.append(orjson.dumps(record)), is_earlier=is_earlier)

    def _note(self, record: dict[str, Any]) -> None:
        """Append a note. Notes free space, so none is refused: on a full disk a note waits in memory for a retry."""
        self._owed.append(record)
        self._index.apply(record, Place(self._log.newest_number, 0, 0), is_earlier=False)
        self._pay_if_room()

    def _pay_if_room(self) -> None:
        try:
            self._pay()
        except JournalFull as error:
            _LOG.warning("%d notes wait in memory: %s", len(self._owed), error)

    def _pay(self) -> None:
        """Write the notes that wait for a retry. Raises JournalFull on a full disk."""
        while self._owed:
            self._log.append(orjson.dumps(self._owed[0]))
            del self._owed[0]

    def _free_segments(self) -> None:
        """Remove the oldest segments while they hold few live entries, which are copied into the newest segment.

        Only a few entries are copied at a time, so that the road never waits for long.
        """
        left = _MOST_COPIED
        while (oldest := self._log.oldest_sealed) is not None:
            number, size_bytes = oldest
            most_live = _MOST_LIVE_WHEN_FULL if self.size_bytes > 0.5 * self._max_bytes else _MOST_LIVE
            if self._index.live_bytes(number) > most_live * size_bytes:
                return
            try:
                left -= self._say_again(number, left)
                if self._index.live_bytes(number):
                    return
                for record in self._index.notes_in(number):
                    self._append(record)
            except JournalFull as error:
                _LOG.warning("a finished journal segment stays for now: %s", error)
                return
            self._log.remove_oldest()
            self._index.forget_segment(number)

    def _say_again(self, segment: int, most: int) -> int:
        """Copy entries of the oldest segment. Returns their number."""
        entries = self._index.oldest(segment, most)
        for _, entry in entries:
            self._append(self._folded(entry), is_earlier=entry.is_earlier)
        actions = self._index.oldest_actions(segment, most - len(entries))
        for _, action in actions:
            record = self._record_at(action.place) | {"recorded": action.is_recorded}
            self._append(record, is_earlier=action.is_earlier)
        return len(entries) + len(actions)
