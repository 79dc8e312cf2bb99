"""A ledger in memory, for tests of the road. It passes the same suite as the SQL ledger.

With `is_available = False` every call raises LedgerUnavailable, as for an unavailable database. The public
attributes hold the written rows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

from inspector.domain import (
    AckContradiction,
    Action,
    AgentPresence,
    Challenge,
    ChallengeResult,
    CommandRecord,
    Correction,
    Decision,
    Event,
    GateAction,
    GateOwner,
    GateState,
    GivenOrder,
    LateOutcome,
    Part,
    PartCount,
    PartSelection,
    ResultId,
    ShadowResult,
    Sighting,
    Verdict,
    missed_result_id,
)
from inspector.errors import LedgerUnavailable
from inspector.ports import OWNER_FORGOTTEN_S, Clock
from inspector.store.row_mapping import FINDING_COLUMNS, LATE_COLUMNS
from inspector.store.stored_records import Conflict, StoredDecision
from inspector.stream.ack_merging import AckRow, merge, part_of
from inspector.stream.gate_merging import COMMANDED_FIELDS, watched_fields
from inspector.stream.verdict_record import sighting_of
from inspector.testing.account import join_parts

_WORSE = {Action.NONE: 0, Action.PASS: 1, Action.QUARANTINE: 2, Action.REJECT: 3}


class InMemoryLedger:
    """The port `Ledger` on dicts. A call does not await, so every call is one transaction."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.is_available = True
        self.commits = 0
        self.amendments = 0
        self.rows: dict[ResultId, Verdict] = {}
        self.decisions: dict[tuple[str, int, int, int | ResultId], StoredDecision] = {}
        self.gates: dict[str, GateState] = {}
        self.conflicts: list[Conflict] = []
        self.events: list[Event] = []
        self.acks: dict[tuple[str | int, ...], AckRow] = {}
        self.commands: list[CommandRecord] = []
        self.asked_epochs = 0
        self.owners: dict[str, tuple[GateOwner, str, datetime]] = {}
        self._clock = clock
        self.shadow_results: list[ShadowResult] = []
        self.challenges: list[Challenge] = []
        self._corrections: list[Correction] = []

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def record(
        self, verdicts: Sequence[Verdict], decisions: Sequence[tuple[Decision, bool | None]], gates: Sequence[GateState]
    ) -> list[ResultId]:
        self._check()
        conflicting = [conflict for verdict in verdicts if (conflict := self._insert(verdict))]
        for verdict in verdicts:
            self._correct(verdict)
        for decision, is_published in decisions:
            self._merge(decision, is_published is True)
            row = self.rows.get(decision.result_id)
            if row is not None and row.published is False and is_published is not False:
                self.rows[decision.result_id] = dataclasses.replace(row, published=is_published)
        self._keep(gates)
        self.commits += 1
        return conflicting

    async def amend(self, findings: Sequence[Verdict]) -> list[ResultId]:
        self._check()
        for finding in findings:
            row = self.rows.get(finding.result_id)
            if row is not None and row.late_outcome is LateOutcome.WAITING:
                self.rows[finding.result_id] = _amended(row, finding)
        self.amendments += 1
        return [finding.result_id for finding in findings if finding.result_id not in self.rows]

    async def waiting(self, agent: str, limit: int, after: ResultId | None = None) -> list[Verdict]:
        self._check()
        ids = list(self.rows)
        first = ids.index(after) + 1 if after in ids else 0
        rows = (self.rows[result_id] for result_id in ids[first:])
        waiting = (row for row in rows if row.late_outcome is LateOutcome.WAITING and row.agent == agent)
        return list(itertools.islice(waiting, limit))

    def take_corrections(self) -> list[Correction]:
        corrections, self._corrections = self._corrections, []
        return corrections

    async def load_gates(self, names: Sequence[str] | None = None) -> dict[str, GateState]:
        self._check()
        return {name: state for name, state in self.gates.items() if names is None or name in names}

    async def told_parts(self, gate: str, limit: int) -> list[tuple[int, int, int, Action]]:
        self._check()
        parts = sorted(
            (each.epoch, each.lap, each.trigger_id, each.action)
            for each in self.decisions.values()
            if each.gate == gate and each.trigger_id is not None
        )
        return parts[-limit:] if limit > 0 else []

    async def sightings(self, camera: str, limit: int) -> list[Sighting]:
        self._check()
        frames = [row for row in self.rows.values() if row.camera == camera and row.frame_sha256 is not None]
        newest = frames[-limit:] if limit > 0 else []
        epochs = sorted({row.epoch for row in newest})[-2:]
        return [
            sighting_of(row, row.frame_sha256, acknowledged=True)
            for row in newest
            if row.frame_sha256 and row.epoch in epochs
        ]

    async def record_events(self, events: Sequence[Event]) -> None:
        self._check()
        self.events.extend(events)

    async def events_of(self, subject: str, kinds: Collection[str], since: datetime) -> list[Event]:
        self._check()
        wanted = [event for event in self.events if event.subject == subject and event.kind in kinds]
        return [event for event in reversed(wanted) if event.at >= since]

    async def last_sign(self, gate: str, before: datetime) -> datetime | None:
        self._check()
        times = [row.received_at for row in self.rows.values() if row.gate == gate]
        times += [action.received_at for action in self.gate_actions if action.gate == gate]
        return max((at for at in times if at < before), default=None)

    async def record_command(
        self, command: CommandRecord, gates: Sequence[GateState], challenge: Challenge | None = None
    ) -> bool:
        self._check()
        if any((known.cmd_id, known.agent) == (command.cmd_id, command.agent) for known in self.commands):
            return False
        self.commands.append(command)
        self._keep(gates)
        if challenge is not None:
            self.challenges.append(challenge)
        return True

    async def last_order(self, owner: str, what: str) -> GivenOrder | None:
        self._check()
        given = [
            GivenOrder(order, command.by, f"{command.reason} (command {command.cmd_id})", command.received_at)
            for command in self.commands
            for order in command.orders
            if (order.owner, order.what) == (owner, what)
        ]
        return given[-1] if given else None

    async def record_challenge(
        self, challenge: Challenge, gate: GateState, was: ChallengeResult = ChallengeResult.OPEN
    ) -> bool:
        self._check()
        is_ended = False
        for at, known in enumerate(self.challenges):
            if _names_it(known, challenge.challenge_id, challenge.gate) and known.result is was:
                self.challenges[at], is_ended = challenge, True
        if is_ended or challenge.result is ChallengeResult.FAILED:
            self._keep([gate])
        return is_ended

    async def load_challenge(self, challenge_id: str, gate: str) -> Challenge | None:
        self._check()
        return next((known for known in self.challenges if _names_it(known, challenge_id, gate)), None)

    async def record_gate_actions(self, actions: Sequence[GateAction]) -> list[AckContradiction]:
        self._check()
        contradictions = []
        for action in actions:
            key = (action.report_id,) if action.in_flight else part_of(action)
            row, contradiction = merge(self.acks.get(key, AckRow.of(action)), action)
            self.acks[key] = row
            if contradiction is not None:
                contradictions.append(contradiction)
        return contradictions

    async def has_epoch(self, gate: str, epoch: int) -> bool:
        self._check()
        self.asked_epochs += 1
        begun = [order for command in self.commands for order in command.orders if order.owner == gate]
        known = {row.epoch for row in self.rows.values() if row.gate == gate}
        known |= {action.epoch for action in self.gate_actions if action.gate == gate}
        known |= {int(number) for order in begun if order.what == "epoch" for number in (order.old, order.new)}
        return epoch in known

    async def parts(self, wanted: PartSelection, limit: int) -> list[Part]:
        self._check()
        return join_parts(self.rows.values(), self.decisions.values(), self.gate_actions, wanted)[:limit]

    async def count_parts(self, wanted: PartSelection) -> list[PartCount]:
        parts = await self.parts(wanted, len(self.rows) + len(self.acks))
        counts = Counter((part.gate, f"{part.at.astimezone(UTC):%Y-%m-%dT%H}", part.facts) for part in parts)
        return [PartCount(gate, hour, facts, count) for (gate, hour, facts), count in counts.items()]

    @property
    def gate_actions(self) -> list[GateAction]:
        """The first report of each part, and each report that names no part, in the order of recording."""
        return [row.first for row in self.acks.values()]

    async def record_owned(
        self, presence: AgentPresence, gates: Mapping[str, int], dead: Mapping[str, Collection[str]]
    ) -> list[GateOwner]:
        self._check()
        now = datetime.now(UTC) if self._clock is None else self._clock.now()
        for gate, (_, identity, _) in list(self.owners.items()):
            if identity == presence.identity and gate not in gates:
                del self.owners[gate]
        others = []
        for gate, epoch in gates.items():
            owner, identity, seen_at = self.owners.get(gate, (None, presence.identity, now))
            is_over = now - seen_at > timedelta(seconds=OWNER_FORGOTTEN_S)
            if owner is None or identity == presence.identity or is_over or owner.session in dead.get(gate, ()):
                mine = GateOwner(gate, presence.name, presence.session, epoch)
                self.owners[gate] = mine, presence.identity, now
            else:
                others.append(dataclasses.replace(owner, seen_at=seen_at))
        return others

    async def record_shadow_results(self, results: Sequence[ShadowResult]) -> None:
        self._check()
        known = {(kept.result_id, kept.product, kept.product_version) for kept in self.shadow_results}
        for result in results:
            key = (result.result_id, result.product, result.product_version)
            if key not in known:
                known.add(key)
                self.shadow_results.append(result)

    def _check(self) -> None:
        if not self.is_available:
            raise LedgerUnavailable("The database does not answer (test).")

    def _keep(self, states: Sequence[GateState]) -> None:
        for state in states:
            old = self.gates.get(state.name, state)
            is_further = _reach(state) >= _reach(old)
            kept, watched = old, watched_fields(*((state, old) if is_further else (old, state)))
            if is_further:
                commanded = {name: getattr(old, name) for name in COMMANDED_FIELDS} if old.orders > state.orders else {}
                kept = dataclasses.replace(state, **commanded)
            self.gates[state.name] = dataclasses.replace(kept, **watched)

    def _insert(self, verdict: Verdict) -> ResultId | None:
        first = self.rows.get(verdict.result_id)
        if first is None:
            self.rows[verdict.result_id] = self._numbered(verdict)
            return None
        if first.outcome is verdict.outcome:
            return None
        self.conflicts.append(Conflict(verdict.result_id, first.outcome, verdict.outcome))
        return verdict.result_id

    def _correct(self, verdict: Verdict) -> None:
        gate, epoch, lap, trigger_id = verdict.gate, verdict.epoch, verdict.lap, verdict.trigger_id
        if gate is None or trigger_id is None:
            return
        missed = self.rows.get(missed_result_id(gate, epoch, lap, trigger_id))
        if missed is None or missed.corrected_by is not None:
            return
        for row in self.rows.values():
            is_frame = row.frame_sha256 is not None and not row.simulated
            if is_frame and row.gate == gate and _part(row) == (epoch, lap, trigger_id):
                self.rows[missed.result_id] = dataclasses.replace(missed, corrected_by=row.result_id)
                self._corrections.append(Correction(gate, epoch, trigger_id, missed.result_id, row.result_id))
                return

    def _numbered(self, verdict: Verdict) -> Verdict:
        if verdict.part_id is None or verdict.inspection_no is not None:
            return verdict
        station = verdict.gate or verdict.camera
        earlier = [
            row
            for row in self.rows.values()
            if row.part_id == verdict.part_id
            and (row.gate or row.camera) == station
            and row.simulated == verdict.simulated
        ]
        for row in earlier:
            if verdict.trigger_id is not None and _part(row) == _part(verdict):
                return dataclasses.replace(verdict, inspection_no=row.inspection_no)
        highest = max((row.inspection_no or 0 for row in earlier), default=0)
        return dataclasses.replace(verdict, inspection_no=highest + 1)

    def _merge(self, decision: Decision, is_sent: bool) -> None:
        part = decision.result_id if decision.in_flight else decision.trigger_id
        key = (decision.gate, decision.epoch, decision.lap, part)
        new = StoredDecision(
            gate=decision.gate,
            epoch=decision.epoch,
            lap=decision.lap,
            trigger_id=None if decision.in_flight else decision.trigger_id,
            action=decision.action,
            result_id=decision.result_id,
            sent=int(is_sent),
        )
        old = self.decisions.get(key)
        if old is not None:
            worst = new if _WORSE[new.action] > _WORSE[old.action] else old
            new = dataclasses.replace(worst, sent=old.sent + new.sent)
        self.decisions[key] = new


def _amended(row: Verdict, finding: Verdict) -> Verdict:
    kept = {name: getattr(row, name) for name in FINDING_COLUMNS if getattr(row, name) is not None}
    added = {name: getattr(finding, name) for name in (*FINDING_COLUMNS, *LATE_COLUMNS, "regions")}
    return dataclasses.replace(row, **(added | kept))


def _names_it(challenge: Challenge, challenge_id: str, gate: str) -> bool:
    return (challenge.challenge_id, challenge.gate) == (challenge_id, gate)


def _reach(state: GateState) -> tuple[int, int]:
    return state.epoch, -1 if state.last_trigger is None else state.last_trigger


def _part(verdict: Verdict) -> tuple[int, int, int | None]:
    return verdict.epoch, verdict.lap, verdict.trigger_id
