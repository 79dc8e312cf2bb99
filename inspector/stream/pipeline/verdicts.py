"""Makes verdicts: from a frame's facts and its ruling, or for a part that has no frame. Pure.

This is the only place where facts of a frame become fields of a row. Each source of facts gives a group of fields.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from inspector.domain import (
    Admitted,
    Cause,
    FrameFacts,
    Identity,
    LateOutcome,
    ResultId,
    RouteFacts,
    Scored,
    Standing,
    Verdict,
    missed_result_id,
    part_result_id,
)
from inspector.stream.admission import MissedPart
from inspector.stream.deciding import Policy, Ruling, rule
from inspector.stream.gates import MissingView, PartKey

Fields = dict[str, Any]
"""Values of fields of a `Verdict`, by name."""

LOST_AFTER_CAMERA: Final = "the camera's own count jumped over this frame, which was lost after the camera"


@dataclass(frozen=True, slots=True)
class Signature:
    """The fields about the agent itself, the same in every row of this agent."""

    agent: str
    software: str
    config_digest: str


def frame_verdict(
    facts: FrameFacts, ruling: Ruling, signature: Signature, gate: str | None, decided_at: datetime, total_ms: float
) -> Verdict:
    """The row of a frame. `published` is False at a gate, because no decision has been sent; otherwise None."""
    return Verdict(
        **_admission_fields(facts.admitted),
        **_ruling_fields(ruling),
        **_signature_fields(signature),
        **standing_fields(facts.admitted.standing),
        **_route_fields(facts.route),
        **_score_fields(facts.scored),
        gate=gate,
        published=None if gate is None else False,
        decided_at=decided_at,
        decode_ms=facts.decode_ms,
        total_ms=total_ms,
        registry_revision=facts.lineup_revision,
        threshold=_threshold(facts),
    )


def with_late_score(told: Verdict, facts: FrameFacts) -> Verdict:
    """The verdict whose decision was published, with the score that came too late added for the record."""
    if facts.scored is None:
        return told
    return replace(told, **_score_fields(facts.scored), threshold=_threshold(facts))


def with_finding(row: Verdict, facts: FrameFacts, ruling: Ruling, at: datetime) -> Verdict:
    """The row of a late frame with what the frame showed when it was judged afterwards. Outcome and cause stay."""
    return replace(
        row,
        **_route_fields(facts.route),
        **_score_fields(facts.scored),
        threshold=_threshold(facts),
        decode_ms=facts.decode_ms,
        registry_revision=facts.lineup_revision,
        late_outcome=LateOutcome(ruling.outcome.value),
        late_cause=ruling.cause,
        late_detail=ruling.detail,
        judged_at=at,
    )


def standing_fields(standing: Standing) -> Fields:
    """The fields of a row for mode, lot and job."""
    job = standing.job
    return {"mode": standing.mode, "lot": job.lot if job else None, "job_id": job.job_id if job else None}


def _admission_fields(admitted: Admitted) -> Fields:
    key, delivery = admitted.key, admitted.delivery
    return {
        "result_id": key.result_id,
        "camera": key.camera,
        "view": key.view,
        "epoch": key.epoch,
        "lap": key.lap,
        "frame_id": key.frame_id,
        "trigger_id": key.trigger_id,
        "part_id": key.part_id,
        "frame_sha256": key.sha256,
        "identity": key.identity,
        "id_conflict": admitted.id_conflict,
        "captured_at": admitted.captured_at,
        "time_source": admitted.time_source,
        "act_before": admitted.act_before,
        "simulated": admitted.simulated,
        "received_at": delivery.received_at,
        "redelivered": delivery.redelivered,
    }


def _ruling_fields(ruling: Ruling) -> Fields:
    return {
        "outcome": ruling.outcome,
        "cause": ruling.cause,
        "cause_detail": ruling.detail,
        "action": ruling.action,
    }


def _signature_fields(signature: Signature) -> Fields:
    return {
        "agent": signature.agent,
        "software": signature.software,
        "config_digest": signature.config_digest,
    }


def _route_fields(route: RouteFacts | None) -> Fields:
    if route is None:
        return {}
    return {
        "product": route.product,
        "product_version": route.product_version,
        "artifact_digest": route.artifact_digest,
        "route_confidence": route.confidence,
        "route_ms": route.route_ms,
    }


def _score_fields(scored: Scored | None) -> Fields:
    if scored is None:
        return {}
    return {
        "level": scored.level,
        "score": scored.score,
        "embed_ms": scored.embed_ms,
        "score_ms": scored.score_ms,
        "engine": scored.engine,
        "regions": scored.regions,
    }


def _threshold(facts: FrameFacts) -> float | None:
    """The threshold that the score was compared with; without a score, the threshold of the frame's routed version."""
    if facts.scored is not None:
        return facts.scored.threshold
    return facts.route.threshold if facts.route is not None else None


def missed_part(missed: MissedPart, signature: Signature, policy: Policy, at: datetime) -> Verdict:
    """The row of a part that was not inspected, because its number is missing from the trigger count."""
    part = PartKey(missed.epoch, missed.lap, missed.trigger_id)
    detail = LOST_AFTER_CAMERA if missed.is_counted_by_camera else "the trigger count jumped over this part"
    ruling = rule(Cause.NOT_RECEIVED, policy, detail)
    result_id = missed_result_id(missed.gate, missed.epoch, missed.lap, missed.trigger_id)
    return _frameless(part, _Place(missed.gate, missed.camera), result_id, ruling, signature, at)


def missing_view(
    missing: MissingView, view: str, gate: str, ruling: Ruling, signature: Signature, at: datetime
) -> Verdict:
    """The row of a view that had not come when its part had to be decided."""
    camera, part = missing.camera, missing.part
    result_id = part_result_id(gate, part.epoch, part.number, f"view_missing:{part.lap}:{part.solo}:{camera}")
    row = _frameless(part, _Place(gate, camera, view), result_id, ruling, signature, at)
    return replace(row, act_before=missing.act_before)


@dataclass(frozen=True, slots=True)
class _Place:
    """The camera and part of a frame that never came."""

    gate: str
    camera: str
    view: str = ""


def _frameless(
    part: PartKey, place: _Place, result_id: ResultId, ruling: Ruling, signature: Signature, at: datetime
) -> Verdict:
    """A row without a frame."""
    return Verdict(
        **_ruling_fields(ruling),
        **_signature_fields(signature),
        result_id=result_id,
        camera=place.camera,
        view=place.view,
        gate=place.gate,
        epoch=part.epoch,
        lap=part.lap,
        frame_id=None,
        trigger_id=None if part.solo else part.number,
        part_id=None,
        received_at=at,
        decided_at=at,
        identity=Identity.STRONG,
        published=False,
    )
