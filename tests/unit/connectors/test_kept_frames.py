"""Frames that a camera kept until its broker came back: real MqttSource and Admission, on a stub of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from connectors.mqtt.source import MqttSource
from connectors.mqtt.wire.client import Message
from connectors.mqtt.wire.connection import Connection
from inspector.config.loading import parse
from inspector.stream.admission import Admission, Arrival, frame_digest
from inspector.testing.edges import FakeTelemetry

MS = 1_000_000
LARGE = 5_600_000
GIGABIT_LARGE_MS = 45.0


class StoppedClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at_ns = 5_000 * MS

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(microseconds=self.at_ns / 1000)

    def monotonic_ns(self) -> int:
        return self.at_ns

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing may wait, here for {seconds} s")


class Wire:
    """A connection that takes everything."""

    protocol = "5"
    is_open = True

    def __init__(self, opening_ns: int) -> None:
        self.opening_ns = opening_ns

    def set_reading(self, _wanted: bool) -> None: ...

    def acknowledge(self, _packet_id: int) -> None: ...

    def flush(self) -> None: ...


class Line:
    """One camera at a gate of one part in flight, whose broker has lost its sessions and is up again."""

    def __init__(self, *, clock: str = "untrusted", connections: int = 2, **mqtt: Any) -> None:
        config = parse(
            {
                "agent": {"name": "a"},
                "mqtt": mqtt,
                "camera": [{"name": "cam", "on_unjudged": "reject", "clock": clock}],
                "gate": [{"name": "g", "cameras": ["cam"], "window_ms": 1000, "match": "single_in_flight"}],
            },
            None,
        )
        self.clock = StoppedClock()
        self.topic = config.topic_of(config.camera_named("cam"))
        self.source = MqttSource(config, config.camera_named("cam"), self.clock, FakeTelemetry())
        self.admission = Admission(config)
        self.admission.assign({}, {})
        self.frames = 0
        for number in range(connections):
            if number:
                self.source.disconnected()
            self.wire = Wire(self.clock.at_ns)
            self.source.connected(cast(Connection, self.wire), session_present=False)

    def send(self, after_ms: float, size: int = 8, ahead: timedelta | None = None) -> bool:
        """Send one frame. Returns whether it is late. Markers come back on time all along."""
        self.clock.at_ns += int(after_ms * MS)
        assert self.source._markers is not None
        self.source._markers._bound._not_before_ns = self.clock.at_ns - 50 * MS
        self.frames += 1
        properties = () if ahead is None else (("captured-at", (self.clock.now() + ahead).isoformat()),)
        payload = (b"%d" % self.frames).ljust(size)
        message = Message(self.topic, payload, self.frames, False, False, properties)
        self.source.received(cast(Connection, self.wire), message)
        delivery = self.source._ready.pop()
        arrival = self.admission.admit(delivery, frame_digest(delivery.payload))
        assert isinstance(arrival, Arrival)
        return arrival.admitted.is_late


def late(line: Line, gaps_ms: Sequence[float], **more: Any) -> list[bool]:
    return [line.send(gap_ms, **more) for gap_ms in gaps_ms]


@pytest.mark.parametrize("connections", [2, 3])
def test_kept_frames_are_late_and_the_first_live_one_is_told(connections: int) -> None:
    line = Line(connections=connections)
    assert all(late(line, [5] * 12))
    assert late(line, [1000, 5, 5]) == [False] * 3


@pytest.mark.parametrize("pause_ms", [40, 60, 200, 480])
def test_kept_frames_between_which_the_camera_takes_its_time_are_late(pause_ms: float) -> None:
    line = Line(connections=2)
    assert all(late(line, [pause_ms] * 12))
    assert late(line, [900, 900]) == [False] * 2, "live parts lie about a window apart"


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(milliseconds=5), timedelta(hours=1)])
def test_kept_frames_with_a_time_ahead_are_late(ahead: timedelta) -> None:
    line = Line(clock="trusted", connections=2)
    assert all(late(line, [5] * 12, ahead=ahead + timedelta(microseconds=1)))


def test_frames_with_a_time_that_is_used_are_told_from_the_first_one_on() -> None:
    line = Line(clock="trusted", connections=2)
    assert not any(late(line, [5] * 12, ahead=-timedelta(milliseconds=10)))


def test_kept_frames_that_lie_apart_by_their_transfer_are_late() -> None:
    line = Line(connections=2, in_flight=100)
    assert all(late(line, [GIGABIT_LARGE_MS] * 12, size=LARGE))
    assert not line.send(600, size=LARGE)


def test_kept_frames_whose_sending_takes_longer_than_a_second_are_late() -> None:
    line = Line(connections=2, in_flight=100)
    assert all(late(line, [30] * 45))
    assert not line.send(1000)


def test_frames_that_the_agent_did_not_read_meanwhile_are_late() -> None:
    line = Line(connections=2)
    assert all(late(line, [5] * 3))
    line.source.pause()
    line.clock.at_ns += 500 * MS
    line.source.resume()
    assert all(late(line, [5] * 3))
    assert not line.send(1000)
