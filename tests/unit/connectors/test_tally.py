"""Events that could come with every message of a camera: the first at once, the others together."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

from connectors.mqtt.source import MqttSource
from connectors.mqtt.tally import Tally
from connectors.mqtt.wire.client import Message
from connectors.mqtt.wire.connection import Connection
from inspector.config.loading import parse
from inspector.stream.pauses import FIRST_PAUSE_S, LONGEST_PAUSE_S
from inspector.testing.edges import FakeTelemetry


class SteppedClock:
    """A clock whose sleepers wake when the test moves it."""

    def __init__(self) -> None:
        self.at_s = 100.0
        self._moved = asyncio.Condition()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at_s, UTC)

    def monotonic_ns(self) -> int:
        return int(self.at_s * 1e9)

    async def sleep(self, seconds: float) -> None:
        until_s = self.at_s + seconds
        async with self._moved:
            await self._moved.wait_for(lambda: self.at_s >= until_s)

    async def move(self, seconds: float) -> None:
        await asyncio.sleep(0)  # who was started before sleeps now
        async with self._moved:
            self.at_s += seconds
            self._moved.notify_all()
        for _ in range(5):
            await asyncio.sleep(0)


class Told:
    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.events: list[tuple[str, str]] = []
        self.tally = Tally(self.clock, lambda kind, detail: self.events.append((kind, detail)))


async def test_tally_tells_each_kind_at_once_as_it_is() -> None:
    told = Told()
    told.tally.note("retained", "a frame")
    told.tally.note("unexpected", "a topic")
    assert told.events == [("retained", "a frame"), ("unexpected", "a topic")]


async def test_tally_tells_what_came_within_the_pause_together_when_it_is_over() -> None:
    told = Told()
    for number in range(200):
        told.tally.note("retained", f"topic {number % 2}")
    assert len(told.events) == 1
    await told.clock.move(FIRST_PAUSE_S)
    assert told.events[1:] == [("retained", "since the last such event: 199 times, topic 1; topic 0")]
    await told.clock.move(10 * FIRST_PAUSE_S)
    assert len(told.events) == 2, "nothing came since"


async def test_tally_tells_a_single_later_one_as_it_is() -> None:
    told = Told()
    told.tally.note("retained", "one")
    told.tally.note("retained", "another")
    await told.clock.move(FIRST_PAUSE_S)
    assert told.events[1:] == [("retained", "since the last such event: another")]


async def test_tally_pauses_longer_while_they_keep_coming_and_begins_anew_after_a_rest() -> None:
    told = Told()
    for _ in range(24 * 3600):
        told.tally.note("retained", "a frame")
        told.clock.at_s += 1
    assert len(told.events) < 24 * 3600 / LONGEST_PAUSE_S + 10
    told.tally.finish()
    before = len(told.events)
    told.clock.at_s += 2 * LONGEST_PAUSE_S
    told.tally.note("retained", "a frame")
    assert told.events[before:] == [("retained", "a frame")]


async def test_tally_tells_what_waits_at_the_end() -> None:
    told = Told()
    told.tally.note("retained", "one")
    told.tally.note("retained", "another")
    told.tally.finish()
    told.tally.finish()
    assert [detail for _, detail in told.events] == ["one", "since the last such event: another"]


class Wire:
    """A connection that takes everything."""

    protocol = "5"
    is_open = True
    opening_ns = 0

    def set_reading(self, _wanted: bool) -> None: ...

    def acknowledge(self, _packet_id: int) -> None: ...

    def unsubscribe(self, _topic: str) -> None: ...


async def test_mqtt_source_camera_that_sets_retain_or_an_old_subscription_is_no_event_for_each_frame() -> None:
    config = parse({"agent": {"name": "a", "prefix": "p"}, "camera": [{"name": "cam", "on_unjudged": "reject"}]}, None)
    telemetry, clock = FakeTelemetry(), SteppedClock()
    source = MqttSource(config, config.camera[0], clock, telemetry)
    wire: Any = Wire()
    source.connected(cast(Connection, wire), session_present=False)
    for number in range(200):
        topic, is_retained = ("p/cam/frame", True) if number % 2 else ("p/elsewhere", False)
        source.received(cast(Connection, wire), Message(topic, b"x", number + 1, False, is_retained, ()))
    assert sorted(telemetry.kinds()) == ["retained_dropped", "unexpected_topic"]
    assert telemetry.counters["retained_dropped"] == 100
    await clock.move(FIRST_PAUSE_S)
    assert sorted(telemetry.kinds()) == ["retained_dropped"] * 2 + ["unexpected_topic"] * 2
    assert all("99 times" in event.detail for event in telemetry.events[2:])
