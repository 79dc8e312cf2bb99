"""Holds a gate after too many rejects, or after too many frames in a row that could not be judged.

A held gate is not ready, and no pass is sent to it, until a person releases it by command. Its other decisions are
still sent, so that a bad part is never let go because of the hold.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from inspector.domain import (
    UNRELEASED,
    Action,
    Admitted,
    Cause,
    Decision,
    Failure,
    GateMode,
    HeldFor,
    HoldNote,
    Severity,
    Verdict,
)
from inspector.stream.gates import may_be_told
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.storms import (
    ALARM_OF,
    UNCOUNTED,
    Storm,
    TriggerAlarms,
    count_frame,
    count_part,
    hold,
    reached,
    run_of,
)

CAUSES_KEPT: Final = 1000
"""As many parts as `storm_share_parts` may count."""


class Holding:
    """Counts what was decided at each gate, and begins a hold at a bound of its `[[gate]]` section."""

    def __init__(self, shared: Shared, owning: Owning) -> None:
        self._shared = shared
        self._owning = owning
        self._alarms = TriggerAlarms()
        self._causes: dict[str, deque[Cause | None]] = {}
        """By gate: why the last parts were rejected, None for other parts. Only for the words of an alarm."""

    def count(self, gate: str, admitted: Admitted, verdict: Verdict, decision: Decision | None) -> HoldNote | None:
        """Count one frame and, if it decided its part, the part. Returns the hold that begins with it."""
        if not may_be_told(admitted) or admitted.standing.mode is GateMode.GOLDEN or self._owning.is_anothers(gate):
            return None
        counter, section = self._shared.admission.counter(gate), self._shared.section_of(gate)
        state = count_frame(counter.state, verdict.camera, verdict.cause)
        if decision is not None:
            state = count_part(state, decision.action, decision.cause, section.storm_share_parts)
            self._note_cause(gate, decision)
        counter.update(state)
        self._tell_missing_triggers(verdict.camera, gate)
        storm = reached(state, section, tuple(self._causes.get(gate, ())))
        return None if storm is None else self._begin(gate, storm)

    def _note_cause(self, gate: str, decision: Decision) -> None:
        if decision.cause not in UNCOUNTED:
            causes = self._causes.setdefault(gate, deque(maxlen=CAUSES_KEPT))
            causes.append(decision.cause if decision.action is Action.REJECT else None)

    def withholds(self, decision: Decision) -> bool:
        """Whether this decision must not be sent because its gate is held."""
        return decision.action is Action.PASS and self._shared.admission.counter(decision.gate).state.held

    def unreleased(self, gate: str) -> Failure | None:
        """Why no part of this gate is judged: it is held by a challenge that failed or is missing. None: it is not."""
        state = self._shared.admission.counter(gate).state
        if not state.held or state.held_for not in UNRELEASED:
            return None
        why = "failed" if state.held_for is HeldFor.GOLDEN_FAILED else "is missing"
        return Failure(Cause.NOT_RELEASED, f"the gate is held, because a golden challenge {why}")

    def _begin(self, gate: str, storm: Storm) -> HoldNote:
        counter = self._shared.admission.counter(gate)
        since, agent = self._shared.clock.now(), self._shared.config.agent.name
        counter.update(hold(counter.state, storm.held_for, since, agent))
        self._shared.has_gate_change.set()
        self._shared.event(ALARM_OF[storm.held_for], Severity.ALARM, gate, storm.detail)
        return HoldNote(gate, storm.held_for, counter.state.releases, since, agent)

    def _tell_missing_triggers(self, camera: str, gate: str) -> None:
        run = run_of(self._shared.admission.counter(gate).state, camera)
        if run is not None and self._alarms.is_due(camera, run, self._shared.clock.monotonic_ns()):
            detail = (
                f"{run.count} frames in a row carried no trigger id, so gate {gate} is told nothing of their parts; "
                "look at the camera's trigger-id, or at trigger_from"
            )
            self._shared.event("no_trigger_id", Severity.ALARM, camera, detail)
