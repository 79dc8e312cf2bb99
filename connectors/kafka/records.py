"""Makes a delivery of a Kafka record: finds its camera and reads its headers. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiokafka.structs import ConsumerRecord

from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.domain import Delivery, Position
from inspector.stream.envelope import Envelope, open_envelope, plain_properties

CAMERA_HEADER: Final = "camera"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A record and the time of its arrival here. The time that it then waits for the road counts as its age."""

    record: ConsumerRecord
    at: datetime
    at_ns: int

    @property
    def size_bytes(self) -> int:
        return len(self.record.value or b"")

    @property
    def broker_id(self) -> str:
        """A name of the record that never changes. Its timestamp separates it from a record of a recreated topic."""
        record = self.record
        return f"{record.topic}/{record.partition}/{record.offset}/{record.timestamp}"


class CameraFinder:
    """Finds a record's camera: by the header `camera`, else by a key that names a camera or its gate, else by topic."""

    def __init__(self, config: Config) -> None:
        self._cameras = {camera.name: camera for camera in config.camera if camera.source == "kafka"}
        self._by_topic = {camera.topic: camera for camera in self._cameras.values() if camera.topic is not None}
        self._by_key = {
            gate.name: self._cameras[gate.cameras[0]]
            for gate in config.gate
            if len(gate.cameras) == 1 and gate.cameras[0] in self._cameras
        } | self._cameras

    def find(self, record: ConsumerRecord) -> CameraSection | None:
        """The record's camera; None if it is no camera of this agent."""
        named = next((value for name, value in record.headers if name.lower() == CAMERA_HEADER), None)
        if named is not None:
            return self._cameras.get(_text(named))
        return self._by_key.get(_text(record.key)) or self._by_topic.get(record.topic)


def named_in(record: ConsumerRecord) -> str:
    """The name that the record gives its camera, as text for an event."""
    headers = {name.lower(): value for name, value in record.headers}
    named = headers.get(CAMERA_HEADER, record.key)
    return repr(_text(named)[:64]) if named else "none"


def delivery_of(
    arrived: Arrived, camera: CameraSection, position: Position, *, is_backlog: bool, not_before_ns: int | None = None
) -> Delivery:
    """The record as a delivery. `not_before_ns`: the earliest time at which it can have been appended."""
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
    """The encoded image of a record, without its metadata."""
    return _opened(record, camera).payload


def plain_headers(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    """Headers as text, to be stored. Bytes that are not UTF-8 become a replacement; nothing raises."""
    return plain_properties([(name, _text(value)) for name, value in headers])


def _opened(record: ConsumerRecord, camera: CameraSection) -> Envelope:
    pairs = [pair for pair in record.headers if pair[1] is not None and pair[0].lower() != CAMERA_HEADER]
    is_json = camera.encoding == "json" or camera.trigger_from == "json"
    return open_envelope(record.value or b"", pairs, is_json=is_json, most_bytes=int(camera.max_mib * 2**20))


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
