"""What became of a frame: score or failure, verdict, decision for the gate, and what is kept of it.

A `Verdict` holds numbers and names, never pixels or tensors.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from inspector.domain.frames import Admitted, Identity, ResultId, Route, TimeSource
from inspector.domain.gates import Action, GateMode

SCHEMA_VERSION = 1
"""Version of the verdict record, in every payload's `schema`."""


class Outcome(enum.StrEnum):
    """What the agent found out about a part's image."""

    PASS = "pass"
    REJECT = "reject"
    UNJUDGED = "unjudged"
    UNINSPECTED = "uninspected"


class Cause(enum.StrEnum):
    """Why the outcome is what it is; the table of causes in the contract, complete."""

    OK = "ok"
    ANOMALY = "anomaly"
    UNKNOWN_PRODUCT = "unknown_product"
    WRONG_PRODUCT = "wrong_product"
    UNDECODABLE = "undecodable"
    SCORER_ERROR = "scorer_error"
    NO_TRIGGER_ID = "no_trigger_id"
    NOT_RELEASED = "not_released"
    FRAME_HEALTH = "frame_health"
    LATE = "late"
    OVERLOAD = "overload"
    VIEW_MISSING = "view_missing"
    NOT_RECEIVED = "not_received"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Region:
    """One suspicious region in pixels of the original frame. `peak_level`: 1.0 = threshold."""

    x: int
    y: int
    width: int
    height: int
    area: int
    peak_level: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A head's judgement of one frame. `heat_map`: uint8 [h, w], 128 = threshold, or None."""

    score: float
    threshold: float
    level: float
    regions: tuple[Region, ...] = ()
    heat_map: NDArray[np.uint8] | None = None
    embed_ms: float = 0.0
    score_ms: float = 0.0
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A frame that could not be judged, with the cause its row will carry."""

    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that is known of one frame when its verdict is made. Fields are None where a stage was not reached."""

    admitted: Admitted
    route: Route | None = None
    product_version: int | None = None
    artifact_digest: str | None = None
    threshold: float | None = None
    scored: Scored | None = None
    failure: Failure | None = None
    decode_ms: float | None = None
    route_ms: float | None = None
    lineup_revision: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of `results` and one record on the wire: exactly the contract's fields.

    `published` says whether the gate was told in time: True, False, or None where no gate listens.
    """

    result_id: ResultId
    camera: str
    view: str
    epoch: int
    frame_id: str | None
    trigger_id: int | None
    part_id: str | None
    outcome: Outcome
    cause: Cause
    cause_detail: str | None
    action: Action
    received_at: datetime
    decided_at: datetime
    identity: Identity
    agent: str
    software: str
    config_digest: str
    gate: str | None = None
    lap: int = 0
    mode: GateMode = GateMode.AUTO
    inspection_no: int | None = None
    lot: str | None = None
    job_id: str | None = None
    product: str | None = None
    product_version: int | None = None
    level: float | None = None
    score: float | None = None
    threshold: float | None = None
    route_confidence: float | None = None
    captured_at: datetime | None = None
    act_before: datetime | None = None
    time_source: TimeSource | None = None
    published: bool | None = None
    shadow: bool = False
    simulated: bool = False
    redelivered: bool = False
    id_conflict: bool = False
    decode_ms: float | None = None
    route_ms: float | None = None
    embed_ms: float | None = None
    score_ms: float | None = None
    total_ms: float | None = None
    frame_sha256: str | None = None
    artifact_digest: str | None = None
    registry_revision: str | None = None
    engine: str | None = None
    regions: tuple[Region, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Decision:
    """What one gate is told about one part. `trigger_id` 0 stands for the one part in flight."""

    gate: str
    epoch: int
    trigger_id: int
    action: Action
    cause: Cause
    result_id: ResultId
    act_before: datetime
    act_before_ns: int
    lap: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Bytes that could not be judged as an image, kept as they came, with the reason.

    `verdict`: what the row says of it, by which holds are decided; None for bytes that have no row.
    """

    result_id: ResultId
    camera: str
    payload: bytes
    properties: Mapping[str, str]
    cause: Cause
    detail: str
    received_at: datetime
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """What the image folder keeps of one verdict: the encoded frame as it came and the head's map."""

    verdict: Verdict
    payload: bytes
    heat_map: NDArray[np.uint8] | None
