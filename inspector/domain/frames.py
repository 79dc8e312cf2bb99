"""A frame on its way: a delivery, its identity, its pixels, and the product that it was routed to.

Times named `_ns` are monotonic nanoseconds of this process; `datetime` fields are aware and in UTC.
An acknowledgement is a `Position`, a value: no frame carries a callback.
"""

from __future__ import annotations

import enum
import functools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType, Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.domain.gates import NOTHING_TOLD, Standing

_RESULT_NAMESPACE = uuid.UUID("5b0f6b0e-6a55-5f43-9b39-0d5c0a7f6f10")

ResultId = NewType("ResultId", str)


class Identity(enum.StrEnum):
    """How a frame is distinguished from an equal frame: STRONG by an id that it carries, WEAK by its delivery alone."""

    STRONG = "strong"
    WEAK = "weak"


class TimeSource(enum.StrEnum):
    """Which clock `captured_at` was taken from."""

    CAMERA = "camera"
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class Position:
    """The place of a delivery in its stream, by which it is acknowledged.

    `stream` names one ordered stream (an MQTT camera connection, a Kafka topic and partition),
    `generation` its connection or assignment, `offset` the place in it. Offsets rise within a
    generation, but may have holes.
    """

    stream: str
    generation: int
    offset: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a camera topic as it arrived, bytes untouched.

    `properties` holds the metadata under the contract's header names (`frame-id`, `trigger-id`, ...),
    lower case. `backlog`: the message waited in the broker. `broker_id` is the broker's own unchanging name
    for the message (Kafka), or None (MQTT). `packet_id` is MQTT's number of the message, which its redelivery has
    too and which is used again for others; 0: none. `not_before_ns` is the earliest time at which the message can have
    reached the broker, or None if the source can prove no such time; at a gate a frame without this time is late.
    `may_have_waited`: the camera may have kept the message before the broker got it, so `not_before_ns` bounds the
    frame's age only where the camera's clock says when it was taken.
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
    not_before_ns: int | None = None
    may_have_waited: bool = False
    packet_id: int = 0

    @property
    def proven_ns(self) -> int | None:
        """The earliest time at which the camera can have sent the message; None if nothing proves any."""
        return None if self.may_have_waited else self.not_before_ns


@dataclass(frozen=True, slots=True)
class FrameKey:
    """The identity of one distinct frame: camera, view, epoch, its ids, and the SHA-256 of its bytes.

    `nonce` is empty for a frame that carries an id. A frame without any id gets a nonce per delivery, so that
    equal images of two parts are two frames. `lap` counts how often the trigger counter has wrapped in this
    epoch: part 17 of the next lap is another part. A simulated frame is never the same as a real one.
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
        """`WEAK` if only the delivery distinguishes this frame from an equal frame."""
        return Identity.WEAK if self.nonce else Identity.STRONG

    @property
    def result_id(self) -> ResultId:
        """UUIDv5 of the identity: the same on every agent and after every restart."""
        trigger = "" if self.trigger_id is None else str(self.trigger_id)
        # Both the frame id and the trigger id count: a camera that repeats a frame id with a
        # new trigger shows a new part, which must get a verdict.
        parts = (self.camera, self.view, self.epoch, self.lap, self.frame_id or "", trigger, self.sha256, self.nonce)
        name = "\x1f".join(map(str, (*parts, "simulated") if self.simulated else parts))
        return _named(name)


@functools.lru_cache(maxsize=256)  # a frame's id is asked for several times on its way
def _named(name: str) -> ResultId:
    return ResultId(str(uuid.uuid5(_RESULT_NAMESPACE, name)))


def part_result_id(owner: str, epoch: int, trigger_id: int, what: str) -> ResultId:
    """The id of a row without a frame (a missed part, a missing view). Each part and reason `what` has its own id."""
    return _named("\x1f".join((owner, str(epoch), str(trigger_id), what)))


def missed_result_id(gate: str, epoch: int, lap: int, trigger_id: int) -> ResultId:
    """The id of the row of a part that was not inspected, because its number is missing from the trigger count."""
    return part_result_id(gate, epoch, trigger_id, f"not_received:{lap}")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A new frame, with its identity and its time limits.

    `act_before` and `act_before_ns` are None for a camera without a window. `time_source` names the clock
    of `captured_at`. `missing_trigger`: the gate needs a trigger id, and the frame has none. `is_late`: the
    frame's time was over before it was admitted. `fault` describes the fault of its metadata (None: no fault).
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


class Image(Protocol):
    """The image of a frame. Its decoder makes the pixels when they are asked for, each size once.

    One thread at a time may ask. `size`: height and width in pixels.
    """

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def most_halvings(self) -> int:
        """How often the decoder halves both sides, if asked to; 0 for a small image, or where it can't."""

    def halved(self, times: int) -> NDArray[np.uint8]:
        """Pixels of the image with its sides halved so often, rounded up: uint8 [h, w, 3], RGB, not to be changed.

        `times`: 0 to `most_halvings`. Raises UndecodableFrame.
        """


@dataclass(frozen=True, slots=True)
class PlainImage:
    """Pixels that are there already, uint8 [H, W, 3], RGB, as an image."""

    pixels: NDArray[np.uint8]
    most_halvings: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    def halved(self, times: int) -> NDArray[np.uint8]:
        if times:
            raise ValueError("pixels are not halved by a decoder")
        return self.pixels


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame with its image.

    `expected`: the product that was announced for this frame, else the last product that its camera showed; None where
    neither is known.
    """

    admitted: Admitted
    image: Image
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The product that a frame shows, by the votes of the anchors.

    `product` is None when the frame shows no enrolled product; `nearest` names the product that came closest.
    `confidence` is the winner's share of the votes [0, 1]. `distance` is the trimmed distance to the nearest
    anchors, as a share of the product's bound (over 1.0 = unknown).
    """

    product: str | None
    confidence: float
    distance: float
    nearest: str | None = None


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """The product version that judges a frame. The router makes this object once, and the verdict is made from it.

    `confidence` is the product's share of the anchors' votes [0, 1]; a score above `threshold` is a reject.
    """

    product: str
    product_version: int
    artifact_digest: str
    threshold: float
    confidence: float
    route_ms: float


@dataclass(frozen=True, slots=True)
class Routed:
    """A routed frame with its product's own preparation done, ready for a batch.

    `prepared` is opaque outside `vision/`; `batch_key` says which frames may share one main pass;
    `size_px` is the width and height of the original frame.
    """

    admitted: Admitted
    facts: RouteFacts
    prepared: Any
    batch_key: str
    size_px: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A frame that the ledger or the journal holds. Redeliveries are recognised by it after a restart."""

    key: FrameKey
    result_id: ResultId
    gate: str | None
    acknowledged: bool
