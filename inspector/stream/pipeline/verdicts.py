"""Makes the verdicts: one from a judgement and its ruling, one for a part that has no frame. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from inspector.domain import (
    Cause,
    Identity,
    Judgement,
    Standing,
    Verdict,
    part_result_id,
)
from inspector.stream.admission import MissedPart
from inspector.stream.deciding import Policy, Ruling, rule
from inspector.stream.gates import PartKey


@dataclass(frozen=True, slots=True)
class Signature:
    """What stands in every row of this agent."""

    agent: str
    software: str
    config_digest: str


def verdict_of(
    judgement: Judgement, ruling: Ruling, signature: Signature, gate: str | None, decided_at: datetime, total_ms: float
) -> Verdict:
    """The row of a frame. `published` is False at a gate until the broker took the decision, else None."""
    admitted, route, scored = judgement.admitted, judgement.route, judgement.scored
    key = admitted.key
    return Verdict(
        result_id=key.result_id,
        camera=key.camera,
        view=key.view,
        epoch=key.epoch,
        lap=key.lap,
        frame_id=key.frame_id,
        trigger_id=key.trigger_id,
        part_id=key.part_id,
        outcome=ruling.outcome,
        cause=ruling.cause,
        cause_detail=ruling.detail,
        action=ruling.action,
        received_at=admitted.delivery.received_at,
        decided_at=decided_at,
        identity=key.identity,
        agent=signature.agent,
        software=signature.software,
        config_digest=signature.config_digest,
        gate=gate,
        **of_standing(admitted.standing),
        product=route.product if route else None,
        product_version=judgement.product_version,
        level=scored.level if scored else None,
        score=scored.score if scored else None,
        threshold=scored.threshold if scored else judgement.threshold,
        route_confidence=route.confidence if route else None,
        captured_at=admitted.captured_at,
        act_before=admitted.act_before,
        time_source=admitted.time_source,
        published=None if gate is None else False,
        simulated=admitted.simulated,
        redelivered=admitted.delivery.redelivered,
        id_conflict=admitted.id_conflict,
        decode_ms=judgement.decode_ms,
        route_ms=judgement.route_ms,
        embed_ms=scored.embed_ms if scored else None,
        score_ms=scored.score_ms if scored else None,
        total_ms=total_ms,
        frame_sha256=key.sha256,
        artifact_digest=judgement.artifact_digest,
        registry_revision=judgement.lineup_revision,
        engine=scored.engine if scored else None,
        regions=scored.regions if scored else (),
    )


def of_standing(standing: Standing) -> dict[str, Any]:
    """Mode, lot and job as they stand in a row."""
    job = standing.job
    return {"mode": standing.mode, "lot": job.lot if job else None, "job_id": job.job_id if job else None}


def with_late_score(told: Verdict, judgement: Judgement) -> Verdict:
    """What the gate was told stays; the score that came too late is added for the record."""
    scored = judgement.scored
    if scored is None:
        return told
    return replace(
        told,
        level=scored.level,
        score=scored.score,
        threshold=scored.threshold,
        embed_ms=scored.embed_ms,
        score_ms=scored.score_ms,
        engine=scored.engine,
        regions=scored.regions,
    )


def missed_part(missed: MissedPart, signature: Signature, policy: Policy, at: datetime) -> Verdict:
    """The row of a part that left a hole in the trigger count: it passed uninspected."""
    part = PartKey(missed.epoch, missed.lap, missed.trigger_id)
    ruling = rule(Cause.NOT_RECEIVED, policy, "the trigger count jumped over this part")
    what = f"not_received:{missed.lap}"
    return _frameless(part, (missed.gate, missed.camera, ""), what, ruling, signature, at)


def missing_view(
    camera: str, view: str, part: PartKey, gate: str, ruling: Ruling, signature: Signature, at: datetime
) -> Verdict:
    """The row of a view that had not come when its part had to be decided."""
    what = f"view_missing:{part.lap}:{part.solo}:{camera}"
    return replace(_frameless(part, (gate, camera, view), what, ruling, signature, at), act_before=at)


def _frameless(
    part: PartKey, where: tuple[str, str, str], what: str, ruling: Ruling, signature: Signature, at: datetime
) -> Verdict:
    """A row that no frame stands for. `where`: gate, camera, view; `what` names the row within its part."""
    gate, camera, view = where
    return Verdict(
        result_id=part_result_id(gate, part.epoch, part.number, what),
        camera=camera,
        view=view,
        epoch=part.epoch,
        lap=part.lap,
        frame_id=None,
        trigger_id=None if part.solo else part.number,
        part_id=None,
        outcome=ruling.outcome,
        cause=ruling.cause,
        cause_detail=ruling.detail,
        action=ruling.action,
        received_at=at,
        decided_at=at,
        identity=Identity.STRONG,
        agent=signature.agent,
        software=signature.software,
        config_digest=signature.config_digest,
        gate=gate,
        published=False,
    )
