"""A camera's socket and folder are read only as long as the agent has room for the bytes of another frame."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, cast

from connectors.folder import FolderSource
from connectors.mqtt.source import MqttSource
from connectors.mqtt.wire.client import Message
from connectors.mqtt.wire.connection import Connection
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.stream.frame_room import FrameRoom
from tests.brokers import Notebook, RunningClock

MIB = 1 << 20
FRAME = bytes(15 * MIB)


class Wire:
    """A connection whose broker has as many frames to send as are wanted."""

    protocol = "5"
    is_open = True
    opening_ns = 0

    def __init__(self, frames: int) -> None:
        self.left = frames
        self.is_reading = True

    def set_reading(self, wanted: bool) -> None:
        self.is_reading = wanted

    def acknowledge(self, _packet_id: int) -> None: ...

    def flush(self) -> None: ...

    def bring(self, source: MqttSource) -> None:
        """Bring what is read."""
        connection = cast(Connection, self)
        while self.is_reading and self.left:
            self.left -= 1
            source.received(connection, Message("p/cam1/frame", FRAME, self.left + 1, False, False, ()))


def config_of(**agent: Any) -> Config:
    cameras = [{"name": name, "on_unjudged": "reject"} for name in ("cam1", "cam2")]
    return parse({"agent": {"name": "a", "prefix": "p", **agent}, "mqtt": {"in_flight": 100}, "camera": cameras}, None)


async def test_mqtt_source_80_frames_of_15_mib_stay_within_the_bound_and_all_come() -> None:
    config = config_of()
    room = FrameRoom(config.agent.frames_mib * MIB)
    source = MqttSource(config, config.camera_named("cam1"), RunningClock(), Notebook(), room)
    wire = Wire(80)
    source.connected(cast(Connection, wire), session_present=False)
    deliveries = source.deliveries()
    taken = 0
    wire.bring(source)
    assert 0 < wire.left < 80, "the broker keeps the rest"
    while taken < 80:
        delivery = await anext(deliveries)
        taken += 1
        room.let_go(delivery.position)  # the road is done with its bytes
        await source.acknowledge(delivery.position)
        wire.bring(source)
    assert room.peak_bytes <= config.agent.frames_mib * MIB
    assert (wire.left, room.held_bytes) == (0, 0)


async def test_mqtt_source_reads_on_when_another_camera_gives_room_back() -> None:
    config = config_of(frames_mib=40)
    room = FrameRoom(40 * MIB)
    source, other = (
        MqttSource(config, config.camera_named(name), RunningClock(), Notebook(), room) for name in ("cam1", "cam2")
    )
    wire = Wire(5)
    source.connected(cast(Connection, wire), session_present=False)
    assert other.name == "mqtt:cam2"
    wire.bring(source)
    held = wire.left
    wire.is_reading = False
    positions = deque(delivery.position for delivery in source._ready)
    assert held == 4
    room.let_go(positions.popleft())
    assert wire.is_reading


async def test_folder_source_reads_a_file_only_when_there_is_room(tmp_path: Path) -> None:
    config = parse(
        {"camera": [{"name": "cam1", "on_unjudged": "reject", "source": "folder", "folder": str(tmp_path)}]}, None
    )
    room = FrameRoom(64)
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(12) + b"IEND\xaeB`\x82")
    source = FolderSource(config.camera[0], RunningClock(), Notebook(), poll_s=0.005, room=room)
    async with source:
        deliveries, held = source.deliveries(), []
        for _ in range(6):
            held.append(await anext(deliveries))
            assert room.held_bytes <= 64
            if not room.has_room("cam1", 28):
                room.let_go(held.pop(0).position)
    assert room.peak_bytes <= 64
