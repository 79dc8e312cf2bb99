"""The results of a frame: score or failure, verdict, decision for the gate, and the picture that is kept.

A `Verdict` holds numbers and names, never pixels or tensors.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.domain.frames import Admitted, Identity, ResultId, RouteFacts, TimeSource
from inspector.domain.gates import Action, GateMode

SCHEMA_VERSION = 1
"""Version of the verdict record, in every payload's `schema`."""


class Outcome(enum.StrEnum):
    """Result of the inspection of one frame."""

    PASS = "pass"
    REJECT = "reject"
    UNJUDGED = "unjudged"
    UNINSPECTED = "uninspected"


class Cause(enum.StrEnum):
    """Reason of an outcome: the contract's table of causes, complete."""

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


class LateOutcome(enum.StrEnum):
    """What a frame at a gate that came too late showed when it was judged afterwards. `WAITING`: not judged yet."""

    WAITING = "waiting"
    PASS = "pass"
    REJECT = "reject"
    UNJUDGED = "unjudged"


class FrameFault(enum.StrEnum):
    """Why a frame does not show its part well enough to be judged. The detail of `FRAME_HEALTH` begins with it."""

    DARK = "dark"
    BRIGHT = "bright"
    BLURRED = "blurred"
    MOVED = "moved"
    FROZEN = "frozen"
    COVERED = "covered"


@dataclass(frozen=True, slots=True)
class Region:
    """One suspicious region in pixels of the original frame. `peak_level`: 1.0 = threshold."""

    x: int
    y: int
    width: int
    height: int
    area: int
    peak_level: float


@dataclass(frozen=True, slots=True, eq=False)  # the patches of two passes have no single truth value
class Embedding:
    """The result of a main pass for one frame, kept so that the shadow version of its product needs no pass.

    `key` names the pass and the preparation; only versions of the same key can use it. `patches` is opaque outside
    `vision/`: one [1, P, C] per embedding, on the engine's device, `size_bytes` in all.
    """

    key: Hashable
    patches: tuple[Any, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Scored:
    """The head's result for one frame. `heat_map`: uint8 [h, w], 128 = threshold, or None.

    `embedding` is there only where the shadow version of the frame's product can use it.
    """

    score: float
    threshold: float
    level: float
    regions: tuple[Region, ...] = ()
    heat_map: NDArray[np.uint8] | None = None
    embed_ms: float = 0.0
    score_ms: float = 0.0
    engine: str = ""
    embedding: Embedding | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a frame could not be judged, with the cause for its row.

    `frame_fault`: the fault of a frame with the cause `frame_health`; otherwise None. `route`: the product version that
    the frame would have been judged by, where it is known.
    `product`: the product that the frame shows, where the router recognised it all the same (`not_released`).
    """

    cause: Cause
    detail: str
    frame_fault: FrameFault | None = None
    route: RouteFacts | None = None
    product: str | None = None

    @classmethod
    def of_frame(cls, fault: FrameFault, measure: str, route: RouteFacts | None = None) -> Failure:
        """A frame that must not be scored because of `fault`; `measure` says in words what shows it."""
        return cls(Cause.FRAME_HEALTH, f"{fault.value}: {measure}", fault, route)


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """All facts about one frame when its verdict is made. Fields of stages that the frame did not reach are None."""

    admitted: Admitted
    decode_ms: float | None = None
    lineup_revision: str | None = None
    route: RouteFacts | None = None
    scored: Scored | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of `results` and one record on the wire: exactly the contract's fields.

    `published`: whether the decision reached the broker in time. False: no decision went out. None: there is no gate,
    or a decision may have gone out and the broker's answer is unknown. `late_outcome`, `late_cause`, `late_detail` and
    `judged_at` are None unless the frame came too late; they say what it showed when it was judged afterwards.
    `corrected_by`: the result of the frame that came after its part had been recorded as missed; only a stored row has
    it.
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
    late_outcome: LateOutcome | None = None
    late_cause: Cause | None = None
    late_detail: str | None = None
    judged_at: datetime | None = None
    corrected_by: ResultId | None = None


@dataclass(frozen=True, slots=True)
class LateFrame:
    """A frame that came too late and waits to be judged. `verdict`: its row, whose `late_outcome` is WAITING.

    `admitted` holds the unchanged bytes. `tries`: how often the frame was tried before without ending in a finding.
    """

    verdict: Verdict
    admitted: Admitted
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Correction:
    """A part that was recorded as missed, and the result of its frame, which came after all."""

    gate: str
    epoch: int
    trigger_id: int
    missed_id: ResultId
    result_id: ResultId


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision for one gate about one part.

    `in_flight`: the part has no trigger id, and `trigger_id` 0 stands for the one part in flight.
    """

    gate: str
    epoch: int
    trigger_id: int
    action: Action
    cause: Cause
    result_id: ResultId
    act_before: datetime
    act_before_ns: int
    lap: int = 0
    in_flight: bool = False


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Bytes that could not be read as an image, unchanged, with the reason.

    `verdict`: the result's row, which decides whether a hold keeps the bytes; None for bytes without a row.
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
    """A picture to keep: the verdict, the unchanged encoded frame, and the head's heat map.

    `is_flip`: the shadow version judges the frame otherwise, so that a person has to see it; it is kept even if it
    passed.
    """

    verdict: Verdict
    payload: bytes
    heat_map: NDArray[np.uint8] | None
    is_flip: bool = False
