"""The rules that hold a gate: too many rejects, or too many frames in a row that could not be judged. Pure.

A hold ends only by the command `release`. Thresholds of products are never changed here. Callers leave out simulated
frames, frames that waited in the broker, late frames, reference parts, and frames in a mode that inspects nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from inspector.config.line_sections import GateSection
from inspector.domain import Action, Cause, CauseRun, GateState, HeldFor, StormCounts
from inspector.stream.gate_merging import ENDED_KEPT, hold_name
from inspector.stream.verdict_record import format_time
from inspector.stream.wording import HELD_WORDS, causes_text

UNCOUNTED: Final = frozenset(
    {Cause.LATE, Cause.OVERLOAD, Cause.VIEW_MISSING, Cause.NOT_RECEIVED, Cause.BYPASS, Cause.NOT_RELEASED}
)
"""Causes that say nothing about the part itself. They neither count nor end a run."""

HELD_UNTIL: Final = "the gate is held: it is sent no pass until a person sends the command release, with by and reason"

LOOK: Final = "See first: inspector results list --outcome reject, and --outcome unjudged"
"""A part that was not judged is rejected too where a policy says so."""

ALARM_OF: Final[dict[HeldFor, str]] = {
    HeldFor.CONSECUTIVE_REJECTS: "storm",
    HeldFor.REJECT_SHARE: "storm_share",
    HeldFor.NO_TRIGGER_ID: "storm_no_trigger_id",
    HeldFor.UNKNOWN_PRODUCT: "storm_unknown_product",
    HeldFor.FRAME_HEALTH: "storm_frame_health",
}
"""The kind of the event with which a hold begins."""

_HELD_BY_RUN: Final[dict[Cause, HeldFor]] = {
    Cause.NO_TRIGGER_ID: HeldFor.NO_TRIGGER_ID,
    Cause.UNKNOWN_PRODUCT: HeldFor.UNKNOWN_PRODUCT,
    Cause.FRAME_HEALTH: HeldFor.FRAME_HEALTH,
}

NO_TRIGGER_ALARM_AT: Final = 20
"""Frames in a row without a trigger id that raise an alarm, whether they hold the gate or not."""

NO_TRIGGER_ALARM_S: Final = 600.0
"""Least time between two such alarms of one camera."""


ROUNDING: Final = 1e-6
"""0.07 of 100 parts is a little more than 7 in binary, and 7 rejects must reach it."""


@dataclass(frozen=True, slots=True)
class Storm:
    """A bound that is reached, with the sentence for people."""

    held_for: HeldFor
    detail: str


def count_part(state: GateState, action: Action, cause: Cause, share_parts: int) -> GateState:
    """The state after one more part was decided. `share_parts`: the number of parts to remember."""
    if cause in UNCOUNTED:
        return state
    is_reject = action is Action.REJECT
    recent = (state.storm.recent + ("1" if is_reject else "0"))[-share_parts:]
    return replace(
        state,
        reject_streak=state.reject_streak + 1 if is_reject else 0,
        storm=replace(state.storm, recent=recent),
        watched=state.watched + 1,
    )


def count_frame(state: GateState, camera: str, cause: Cause) -> GateState:
    """The state after one more frame of this camera. A frame of another cause ends the camera's run."""
    if cause in UNCOUNTED:
        return state
    before = run_of(state, camera)
    if cause not in _HELD_BY_RUN and before is None:
        return state
    others = tuple(run for run in state.storm.runs if run.camera != camera)
    if cause in _HELD_BY_RUN:
        count = before.count + 1 if before is not None and before.cause == cause else 1
        others = (*others, CauseRun(camera, cause.value, count))
    return replace(state, storm=replace(state.storm, runs=others), watched=state.watched + 1)


def run_of(state: GateState, camera: str) -> CauseRun | None:
    """The run of this camera; None if its last frame ended the run."""
    return next((run for run in state.storm.runs if run.camera == camera), None)


def reached(state: GateState, gate: GateSection, causes: Sequence[Cause | None] = ()) -> Storm | None:
    """The first bound that is reached; None while the gate may go on, or is held already.

    `causes`: of the last parts that were counted, oldest first, as far as they are known; None for a part that was not
    rejected.
    """
    if state.held:
        return None
    return _by_streak(state, gate, causes) or _by_share(state, gate, causes) or _by_run(state, gate)


def hold(state: GateState, held_for: HeldFor, since: datetime, by: str) -> GateState:
    """The state of the gate that the agent `by` holds."""
    return replace(state, held=True, held_for=held_for, held_since=since, held_by=by, watched=state.watched + 1)


def hold_words(state: GateState) -> str:
    """Since when, by which agent and why a held gate is held, for people."""
    since = "" if state.held_since is None else f" since {format_time(state.held_since)}"
    by = "" if state.held_by is None else f" by the agent {state.held_by}"
    why = "" if state.held_for is None else f": {HELD_WORDS[state.held_for]}"
    return f"held{since}{by}{why}"


def release(state: GateState) -> GateState:
    """The state of the released gate. All counts begin again."""
    ended = hold_name(state)
    return replace(
        state,
        ended_holds=state.ended_holds if ended is None else (*state.ended_holds, ended)[-ENDED_KEPT:],
        held=False,
        held_for=None,
        held_since=None,
        held_by=None,
        reject_streak=0,
        storm=StormCounts(),
        releases=state.releases + 1,
        watched=state.watched + 1,
    )


def _by_streak(state: GateState, gate: GateSection, causes: Sequence[Cause | None]) -> Storm | None:
    if gate.storm_consecutive is None or state.reject_streak < gate.storm_consecutive:
        return None
    said = f"{state.reject_streak} rejects in a row{_why(causes, state.reject_streak)}"
    return Storm(HeldFor.CONSECUTIVE_REJECTS, f"{said}; {HELD_UNTIL}. {LOOK}")


def _why(causes: Sequence[Cause | None], parts: int) -> str:
    """Why the rejects among the last parts were rejected. Those before the agent's start are not known."""
    known = [cause for cause in causes[-parts:] if cause is not None]
    return f": {causes_text(known)}" if known else ""


def _by_share(state: GateState, gate: GateSection, causes: Sequence[Cause | None]) -> Storm | None:
    recent = state.storm.recent[-gate.storm_share_parts :]
    rejects = recent.count("1")
    is_measured = gate.storm_share > 0 and len(recent) == gate.storm_share_parts
    if not is_measured or rejects < gate.storm_share * len(recent) - ROUNDING:
        return None
    said = f"{rejects} of the last {len(recent)} parts are rejects{_why(causes, len(recent))}"
    return Storm(HeldFor.REJECT_SHARE, f"{said}; {HELD_UNTIL}. {LOOK}")


def _by_run(state: GateState, gate: GateSection) -> Storm | None:
    bounds = {
        Cause.NO_TRIGGER_ID: (gate.storm_no_trigger_id, "carried no trigger id"),
        Cause.UNKNOWN_PRODUCT: (gate.storm_unknown_product, "showed no known product"),
        Cause.FRAME_HEALTH: (gate.storm_frame_health, "did not show their part well enough to be judged"),
    }
    for run in state.storm.runs:
        bound, words = bounds[Cause(run.cause)]
        if bound and run.count >= bound:
            look = f"See first: inspector results list --camera {run.camera} --cause {run.cause}"
            detail = f"{run.count} frames in a row of camera {run.camera} {words}; {HELD_UNTIL}. {look}"
            return Storm(_HELD_BY_RUN[Cause(run.cause)], detail)
    return None


class TriggerAlarms:
    """Says when a run of frames without a trigger id is worth an alarm: at a bound, and from time to time after it."""

    def __init__(self) -> None:
        self._last_ns: dict[str, int] = {}

    def is_due(self, camera: str, run: CauseRun | None, now_ns: int) -> bool:
        """Call once for each frame of a camera, after it was counted."""
        if run is None or run.cause != Cause.NO_TRIGGER_ID or run.count < NO_TRIGGER_ALARM_AT:
            return False
        last_ns = self._last_ns.get(camera)
        if last_ns is not None and now_ns - last_ns < NO_TRIGGER_ALARM_S * 1e9:
            return False
        self._last_ns[camera] = now_ns
        return True
