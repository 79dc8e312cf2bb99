"""From a Kafka record to a delivery: whose frame it is, and what stands in its headers. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiokafka.structs import ConsumerRecord

from inspector.config.config import Config
from inspector.config.sections import CameraSection
from inspector.domain import Delivery, Position
from inspector.stream.envelope import Envelope, open_envelope, plain_properties

CAMERA_HEADER: Final = "camera"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A record and when it came here; the time it waits for the road counts as age."""

    record: ConsumerRecord
    at: datetime
    at_ns: int

    @property
    def size_bytes(self) -> int:
        return len(self.record.value or b"")

    @property
    def broker_id(self) -> str:
        """Kafka's unchanging name for the record. The timestamp tells it from one of a topic created anew."""
        record = self.record
        return f"{record.topic}/{record.partition}/{record.offset}/{record.timestamp}"


class CameraFinder:
    """Whose frame a record is: header `camera`, else a key that names a camera (or a gate of one), else the topic."""

    def __init__(self, config: Config) -> None:
        self._cameras = {camera.name: camera for camera in config.camera if camera.source == "kafka"}
        self._by_topic = {camera.topic: camera for camera in self._cameras.values() if camera.topic is not None}
        self._by_key = {
            gate.name: self._cameras[gate.cameras[0]]
            for gate in config.gate
            if len(gate.cameras) == 1 and gate.cameras[0] in self._cameras
        } | self._cameras

    def find(self, record: ConsumerRecord) -> CameraSection | None:
        """None where what the record says is no camera of this agent."""
        named = next((value for name, value in record.headers if name.lower() == CAMERA_HEADER), None)
        if named is not None:
            return self._cameras.get(_text(named))
        return self._by_key.get(_text(record.key)) or self._by_topic.get(record.topic)


def named_in(record: ConsumerRecord) -> str:
    """What the record says of its camera, for a person to read."""
    headers = {name.lower(): value for name, value in record.headers}
    named = headers.get(CAMERA_HEADER, record.key)
    return repr(_text(named)[:64]) if named else "none"


def delivery_of(
    arrived: Arrived, camera: CameraSection, position: Position, *, is_backlog: bool, not_before_ns: int | None = None
) -> Delivery:
    """The record as the road wants it. `not_before_ns`: when it can have been appended at the earliest."""
    envelope = _opened(arrived.record, camera)
    return Delivery(
        position=position,
        camera=camera.name,
        payload=envelope.payload,
        properties=envelope.properties,
        received_at=arrived.at,
        received_ns=arrived.at_ns,
        backlog=is_backlog,
        broker_id=arrived.broker_id,
        not_before_ns=not_before_ns,
    )


def payload_of(record: ConsumerRecord, camera: CameraSection) -> bytes:
    """Only the encoded image."""
    return _opened(record, camera).payload


def plain_headers(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    """Headers as text, for keeping: what is no UTF-8 is marked, nothing raises."""
    return plain_properties([(name, _text(value)) for name, value in headers])


def _opened(record: ConsumerRecord, camera: CameraSection) -> Envelope:
    pairs = [pair for pair in record.headers if pair[1] is not None and pair[0].lower() != CAMERA_HEADER]
    is_json = camera.encoding == "json" or camera.trigger_from == "json"
    return open_envelope(record.value or b"", pairs, is_json=is_json, most_bytes=int(camera.max_mib * 2**20))


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
