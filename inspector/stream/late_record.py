"""The JSON form of a late frame that waits to be judged, and of what it showed. Pure.

The bytes of the frame are not in the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

from inspector.domain import (
    Admitted,
    Delivery,
    FrameKey,
    Job,
    LateFrame,
    LateOutcome,
    Position,
    Standing,
    TimeSource,
    Verdict,
)
from inspector.stream.verdict_record import journal_record, plain, verdict_from_record

VERSION: Final = 1


def late_record(frame: LateFrame) -> dict[str, Any]:
    """Everything about a late frame except its bytes."""
    admitted = frame.admitted
    job = admitted.standing.job
    properties = admitted.delivery.properties
    return {
        "v": VERSION,
        "verdict": journal_record(frame.verdict),
        "nonce": admitted.key.nonce,
        "claimed_product": plain(admitted.claimed_product),
        "job": None if job is None else {name: plain(value) for name, value in asdict(job).items()},
        "properties": {plain(name): plain(value) for name, value in properties.items()},
        "tries": frame.tries,
    }


def late_frame_from_record(record: Mapping[str, Any], payload: bytes) -> LateFrame:
    """The inverse of `late_record`. The frame's delivery can't be acknowledged. Raises ValueError."""
    verdict = finding_from_record(record)
    try:
        job = None if record["job"] is None else Job(**record["job"])
        tries = int(record["tries"])
        claimed, properties, nonce = record["claimed_product"], dict(record["properties"]), record["nonce"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the record can't be read as a late frame: {error!r}") from error
    delivery = Delivery(
        position=Position("late", 0, 0),
        camera=verdict.camera,
        payload=payload,
        properties=properties,
        received_at=verdict.received_at,
        received_ns=0,
        redelivered=verdict.redelivered,
    )
    admitted = Admitted(
        delivery=delivery,
        key=_key(verdict, nonce),
        captured_at=verdict.captured_at or verdict.received_at,
        time_source=verdict.time_source or TimeSource.RECEIVED,
        claimed_product=claimed,
        simulated=verdict.simulated,
        id_conflict=verdict.id_conflict,
        standing=Standing(verdict.mode, job),
    )
    return LateFrame(verdict, admitted, tries)


def finding_record(verdict: Verdict) -> dict[str, Any]:
    """A late frame's row with what the frame showed, until the ledger has it."""
    return {"v": VERSION, "verdict": journal_record(verdict)}


def finding_from_record(record: Mapping[str, Any]) -> Verdict:
    """The verdict of a `finding_record` or a `late_record`. Raises ValueError."""
    if record.get("v") != VERSION or not isinstance(record.get("verdict"), dict):
        raise ValueError(f"the record is of version {record.get('v')!r}, this software reads {VERSION}")
    return verdict_from_record(record["verdict"])


def given_up(verdict: Verdict, reason: str, at: datetime) -> Verdict:
    """The finding of a late frame that can't be judged. `late_cause` stays None, because nothing was judged."""
    detail = f"not judged afterwards: {reason}"
    return replace(verdict, late_outcome=LateOutcome.UNJUDGED, late_detail=detail, judged_at=at)


def _key(verdict: Verdict, nonce: str) -> FrameKey:
    return FrameKey(
        camera=verdict.camera,
        view=verdict.view,
        epoch=verdict.epoch,
        frame_id=verdict.frame_id,
        trigger_id=verdict.trigger_id,
        part_id=verdict.part_id,
        sha256=verdict.frame_sha256 or "",
        nonce=nonce,
        lap=verdict.lap,
        simulated=verdict.simulated,
    )
