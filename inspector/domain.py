"""The frozen types that travel on the road from frame to reject, and nothing else.

No I/O, no torch, no SQL. Each arrow of the road is one type of this module; nothing here points
backwards: an acknowledgement is a `Position`, a value, never a callback carried by a frame.
A `Verdict` holds numbers and names, never pixels or tensors. Times named `_ns` are monotonic
nanoseconds of this process; `datetime` fields are aware and in UTC.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1
"""Version of the verdict record, in every payload's `schema`."""

_RESULT_NAMESPACE = uuid.UUID("5b0f6b0e-6a55-5f43-9b39-0d5c0a7f6f10")

ResultId = NewType("ResultId", str)


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


class Action(enum.StrEnum):
    """What a gate is told to do with a part, after the camera's policy."""

    NONE = "none"
    PASS = "pass"
    REJECT = "reject"
    QUARANTINE = "quarantine"


class Identity(enum.StrEnum):
    """How a frame is told from another: by an id it carries, or only by its delivery."""

    STRONG = "strong"
    WEAK = "weak"


class TimeSource(enum.StrEnum):
    """Which clock `captured_at` was taken from."""

    CAMERA = "camera"
    RECEIVED = "received"


class GateMode(enum.StrEnum):
    """What the line is doing; recorded in each row."""

    AUTO = "auto"
    BYPASS = "bypass"
    SETUP = "setup"
    CLEAN = "clean"
    GOLDEN = "golden"


class Severity(enum.StrEnum):
    """How loud an event is."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a delivery stands in its stream: all that an acknowledgement needs.

    `stream` names one ordered stream (an MQTT camera connection, a Kafka topic and partition),
    `generation` its connection or assignment, `offset` the place in it, rising within a
    generation but not without holes.
    """

    stream: str
    generation: int
    offset: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a camera topic as it arrived, bytes untouched.

    `properties` holds the metadata under the contract's header names (`frame-id`, `trigger-id`, ...),
    lower case. `backlog` says that the message waited in the broker; `broker_id` is the broker's own
    unchanging name for the message where it has one (Kafka), None on MQTT.
    """

    position: Position
    camera: str
    payload: bytes
    properties: Mapping[str, str]
    received_at: datetime
    received_ns: int
    redelivered: bool = False
    backlog: bool = False
    broker_id: str | None = None


@dataclass(frozen=True, slots=True)
class FrameKey:
    """The identity of one distinct frame: (camera, epoch, ids and view, SHA-256 of its bytes).

    `nonce` is empty for a frame that carries an id; a weak frame (no id at all) gets one per delivery,
    so that two equal images of two parts are two frames. `lap` counts how often the trigger counter
    has wrapped in this epoch: part 17 of the next lap is another part. A simulated frame is never the
    same as a real one.
    """

    camera: str
    view: str
    epoch: int
    frame_id: str | None
    trigger_id: int | None
    part_id: str | None
    sha256: str
    nonce: str = ""
    lap: int = 0
    simulated: bool = False

    @property
    def identity(self) -> Identity:
        """`WEAK` when only the delivery tells this frame from an equal one."""
        return Identity.WEAK if self.nonce else Identity.STRONG

    @property
    def result_id(self) -> ResultId:
        """UUIDv5 of the identity: the same on every agent and after every restart."""
        trigger = "" if self.trigger_id is None else str(self.trigger_id)
        # Frame id and trigger id both count where both are there: a camera that repeats a
        # frame id on a new trigger shows a new part, and that part must get a verdict.
        parts = (self.camera, self.view, self.epoch, self.lap, self.frame_id or "", trigger, self.sha256, self.nonce)
        name = "\x1f".join(map(str, (*parts, "simulated") if self.simulated else parts))
        return ResultId(str(uuid.uuid5(_RESULT_NAMESPACE, name)))


def part_result_id(owner: str, epoch: int, trigger_id: int, what: str) -> ResultId:
    """Name of a row that has no frame (a missed part, a missing view): one per part and reason."""
    return ResultId(str(uuid.uuid5(_RESULT_NAMESPACE, "\x1f".join((owner, str(epoch), str(trigger_id), what)))))


@dataclass(frozen=True, slots=True)
class Job:
    """What a line is told to make, from one part of its gate (or camera without a gate) on.

    `job_id` None: no job runs from there. `product` is announced, a claim to check. It is of effect for parts
    from (`from_epoch`, `from_count`) on, the count going on over wraps; -1 stands before every count.
    """

    job_id: str | None
    lot: str | None
    product: str | None
    from_epoch: int
    from_count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a gate (or a camera without a gate) was told to do when a part came: its mode and its job."""

    mode: GateMode = GateMode.AUTO
    job: Job | None = None


NOTHING_TOLD = Standing()
"""Auto, and no job."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A delivery found to be a new frame, with its identity and its time limits.

    `act_before_ns` is None for a camera without a window; `captured_at` follows the camera's clock
    rule (`time_source` says which clock it is). `missing_trigger` marks a gated frame that needs a
    trigger id and has none; `is_late` one whose time was over before it was admitted; `fault` says what
    is wrong with its metadata (None: nothing).
    """

    delivery: Delivery
    key: FrameKey
    captured_at: datetime
    time_source: TimeSource
    act_before: datetime | None = None
    act_before_ns: int | None = None
    claimed_product: str | None = None
    simulated: bool = False
    id_conflict: bool = False
    missing_trigger: bool = False
    is_late: bool = False
    fault: str | None = None
    standing: Standing = NOTHING_TOLD

    @property
    def result_id(self) -> ResultId:
        return self.key.result_id


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame. `pixels`: uint8 [H, W, 3], RGB, C-contiguous, owned by the frame."""

    admitted: Admitted
    pixels: NDArray[np.uint8]
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Route:
    """Which product a frame shows, as the anchors voted.

    `product` is None when the frame is of no enrolled product; `nearest` then names the product that
    came closest. `confidence` is the winner's share of the votes [0, 1]; `distance` the trimmed
    nearest-anchor distance relative to the product's bound (over 1.0 = unknown).
    """

    product: str | None
    confidence: float
    distance: float
    nearest: str | None = None


@dataclass(frozen=True, slots=True)
class Routed:
    """A routed frame with its product's own preparation done, ready for a batch.

    `prepared` is opaque outside `vision/`; `batch_key` says which frames may share one main pass;
    `lineup_revision` names the set of live versions that routed it, which also scores it.
    """

    admitted: Admitted
    route: Route
    product: str
    product_version: int
    prepared: Any
    batch_key: str
    lineup_revision: str
    size_px: tuple[int, int]
    decode_ms: float
    route_ms: float
    threshold: float
    artifact_digest: str


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
class GateState:
    """What must survive a restart about one gate (or one camera without a gate).

    `last_trigger` counts on over wraps: lap x modulus + the number the camera sent. `mode` is of effect until
    `mode_expires_at` (None: for good), then it is auto. `jobs`: the one that runs and its neighbours, oldest first.
    `orders` counts the commands obeyed: of two states, mode and jobs of the one with more of them count.
    """

    name: str
    epoch: int = 1
    last_trigger: int | None = None
    reject_streak: int = 0
    held: bool = False
    mode: GateMode = GateMode.AUTO
    mode_expires_at: datetime | None = None
    jobs: tuple[Job, ...] = ()
    orders: int = 0

    def mode_at(self, now: datetime) -> GateMode:
        """The mode, unless its time is over."""
        is_over = self.mode_expires_at is not None and now >= self.mode_expires_at
        return GateMode.AUTO if is_over else self.mode

    def job_of(self, epoch: int, count: int) -> Job | None:
        """The job of the part with this count; None where no job runs."""
        begun = [job for job in self.jobs if (job.from_epoch, job.from_count) <= (epoch, count)]
        return begun[-1] if begun and begun[-1].job_id is not None else None


@dataclass(frozen=True, slots=True)
class GateAction:
    """What the PLC says it did with one part: the only true count of parts.

    `source`: 1 decision, 2 time-out default, 3 bypass, 4 manual. `done`: 1 = seen by the reject sensor.
    """

    gate: str
    epoch: int
    trigger_id: int
    action: int
    source: int
    done: int
    received_at: datetime


class CommandName(enum.StrEnum):
    """What a line may be told."""

    JOB = "job"
    MODE = "mode"
    RESYNC = "resync"
    GOLDEN = "golden"


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A message of a command topic as it arrived."""

    name: CommandName
    payload: bytes
    received_at: datetime
    is_retained: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """One change that a command makes: to which gate (or camera), from what to what. Goes into the audit."""

    owner: str
    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command that was obeyed or refused, as the store keeps it. `cmd_id` is used once per agent."""

    cmd_id: str
    name: CommandName
    agent: str
    by: str
    reason: str
    sent_at: datetime
    received_at: datetime
    is_obeyed: bool
    detail: str
    orders: tuple[Order, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person may have to know that is not a verdict."""

    at: datetime
    kind: str
    severity: Severity
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A frame the ledger or the journal already knows, for finding redeliveries after a restart."""

    key: FrameKey
    result_id: ResultId
    gate: str | None
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Bytes that could not be judged as an image, kept as they came, with the reason."""

    result_id: ResultId
    camera: str
    payload: bytes
    properties: Mapping[str, str]
    cause: Cause
    detail: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Picture:
    """What the image folder keeps of one verdict: the encoded frame as it came and the head's map."""

    verdict: Verdict
    payload: bytes
    heat_map: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class ProductVersion:
    """One immutable enrolled version as the registry names it; the artifact's bytes are fetched apart."""

    product: str
    version: int
    head: str
    profile: str
    digest: str
    size_bytes: int
    created_at: datetime
    created_by: str
    manifest: Mapping[str, Any]
    threshold: float
    is_live: bool = False
    is_shadow: bool = False


@dataclass(frozen=True, slots=True)
class LiveSet:
    """Which version of each product is live; `revision` changes with every activation.

    `shadows` are stored beside the live ones and never decide; agents do not score them yet.
    """

    revision: str
    versions: tuple[ProductVersion, ...]
    shadows: tuple[ProductVersion, ...] = ()
