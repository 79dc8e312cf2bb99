"""A journal in memory, for tests of the road. It passes the same suite as the journal on files.

`after_kill()` returns the journal that the next process would open: all entries are there, and frames that
were being tried count one more try. With `is_full = True` verdicts and attempts raise JournalFull.
`entries` holds all appended entries, in order.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from inspector.domain import Decision, GateAction, HoldNote, Identity, ResultId, Sighting, Verdict
from inspector.errors import JournalFull
from inspector.stream.verdict_record import sighting_of

Tried = tuple[str, str]
"""Camera and SHA-256 of a frame."""


@dataclass(slots=True)
class JournalEntry:
    """One verdict with all later notes about it."""

    verdict: Verdict
    decision: Decision | None
    hold: HoldNote | None = None
    is_recorded: bool = False
    is_acknowledged: bool = False


@dataclass(slots=True)
class ActionEntry:
    """One report of a PLC, and whether it has a row."""

    action: GateAction
    is_recorded: bool = False


@dataclass
class InMemoryJournal:
    """The port `Journal` on a dict; `syncs` counts the calls of `sync`."""

    is_full: bool = False
    syncs: int = 0
    entries: list[tuple[str, Any]] = field(default_factory=list)
    _verdicts: dict[ResultId, JournalEntry] = field(default_factory=dict)
    _earlier: set[ResultId] = field(default_factory=set)
    _tries: dict[Tried, int] = field(default_factory=dict)
    _trying: set[Tried] = field(default_factory=set)
    _actions: dict[str, ActionEntry] = field(default_factory=dict)
    _earlier_actions: set[str] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._trying.clear()

    def after_kill(self) -> InMemoryJournal:
        """The journal that the next process finds. Don't use this object afterwards."""
        tries = dict(self._tries)
        for frame in self._trying:
            tries[frame] = tries.get(frame, 0) + 1
        verdicts = {result_id: dataclasses.replace(entry) for result_id, entry in self._verdicts.items()}
        actions = {report_id: dataclasses.replace(entry) for report_id, entry in self._actions.items()}
        return InMemoryJournal(
            _verdicts=verdicts,
            _earlier=set(verdicts),
            _tries=tries,
            _actions=actions,
            _earlier_actions=set(actions),
        )

    def append_attempt(self, camera: str, sha256: str) -> int:
        self._check_room()
        self.entries.append(("attempt", (camera, sha256)))
        self._trying.add((camera, sha256))
        return self.tries(camera, sha256)

    def tries(self, camera: str, sha256: str) -> int:
        return self._tries.get((camera, sha256), 0)

    def append_verdict(self, verdict: Verdict, decision: Decision | None, hold: HoldNote | None = None) -> None:
        self._check_room()
        self.entries.append(("verdict", verdict.result_id))
        self._verdicts.pop(verdict.result_id, None)  # the order is that of the last entry
        self._verdicts[verdict.result_id] = JournalEntry(verdict, decision, hold)
        self._earlier.discard(verdict.result_id)
        if verdict.frame_sha256 is not None:
            self._tries.pop((verdict.camera, verdict.frame_sha256), None)
            self._trying.discard((verdict.camera, verdict.frame_sha256))

    def append_published(self, result_id: ResultId, published: bool | None) -> None:
        self.entries.append(("published", (result_id, published)))
        if entry := self._verdicts.get(result_id):
            entry.verdict = dataclasses.replace(entry.verdict, published=published)

    def append_acknowledged(self, result_ids: Sequence[ResultId]) -> None:
        self.entries.append(("acknowledged", tuple(result_ids)))
        for result_id in result_ids:
            if entry := self._verdicts.get(result_id):
                entry.is_acknowledged = True
        self._forget_finished()

    def append_recorded(self, result_ids: Sequence[ResultId]) -> None:
        self.entries.append(("recorded", tuple(result_ids)))
        for result_id in result_ids:
            if entry := self._verdicts.get(result_id):
                entry.is_recorded = True
        self._forget_finished()

    def append_gate_action(self, action: GateAction) -> None:
        self._check_room()
        self.entries.append(("action", action.report_id))
        self._actions[action.report_id] = ActionEntry(action)

    def append_gate_actions_recorded(self, report_ids: Sequence[str]) -> None:
        self.entries.append(("actions_recorded", tuple(report_ids)))
        for report_id in report_ids:
            if entry := self._actions.get(report_id):
                entry.is_recorded = True
                if not entry.action.in_flight:
                    del self._actions[report_id]

    def unrecorded_gate_actions(self) -> list[str]:
        return [
            report_id
            for report_id, entry in self._actions.items()
            if report_id in self._earlier_actions and not entry.is_recorded
        ]

    def read_gate_actions(self, report_ids: Sequence[str]) -> list[GateAction]:
        entries = [self._actions[report_id] for report_id in report_ids if report_id in self._actions]
        return [entry.action for entry in entries if not entry.is_recorded]

    def nameless_gate_actions(self) -> list[GateAction]:
        return [entry.action for entry in self._actions.values() if entry.action.in_flight]

    async def sync(self) -> None:
        self.syncs += 1

    def unrecorded(self) -> list[ResultId]:
        return [
            result_id
            for result_id, entry in self._verdicts.items()
            if result_id in self._earlier and not entry.is_recorded
        ]

    def read(self, result_ids: Sequence[ResultId]) -> list[tuple[Verdict, Decision | None]]:
        entries = [self._verdicts[result_id] for result_id in result_ids if result_id in self._verdicts]
        return [(entry.verdict, entry.decision) for entry in entries if not entry.is_recorded]

    def holds(self) -> list[HoldNote]:
        entries = (self._verdicts[result_id] for result_id in self.unrecorded())
        return [entry.hold for entry in entries if entry.hold is not None]

    def sightings(self, most: int) -> list[Sighting]:
        found = [
            sighting_of(entry.verdict, entry.verdict.frame_sha256, acknowledged=entry.is_acknowledged)
            for entry in self._verdicts.values()
            if entry.verdict.frame_sha256 is not None
        ]
        count = Counter(sighting.key.camera for sighting in found)
        kept: list[Sighting] = []
        for sighting in found:
            if count[sighting.key.camera] <= most:
                kept.append(sighting)
            count[sighting.key.camera] -= 1
        return kept

    @property
    def size_bytes(self) -> int:
        return self.limit_bytes if self.is_full else len(self._verdicts)

    @property
    def limit_bytes(self) -> int:
        return 1_000_000

    def _check_room(self) -> None:
        if self.is_full:
            raise JournalFull("The journal is full (test).")

    def _forget_finished(self) -> None:
        """False for a recorded frame, which is in the ledger. A frame without ids stays until it is acknowledged."""
        for result_id, entry in list(self._verdicts.items()):
            is_weak = entry.verdict.identity is Identity.WEAK and entry.verdict.frame_sha256 is not None
            if entry.is_recorded and (entry.is_acknowledged or not is_weak):
                del self._verdicts[result_id]
