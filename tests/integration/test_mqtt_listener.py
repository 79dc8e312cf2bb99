"""Hearing messages for a measurement, and removing what it left on the broker, on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.mqtt.listener import MqttListener, remove_retained
from connectors.mqtt.publisher import MqttPublisher
from tests.brokers import Mosquitto, line_config, until


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_remove_retained_removes_all_below_the_prefix_and_nothing_else(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, protocol: str
) -> None:
    broker = mosquitto()
    for topic in ("bench/a/state", "bench/b", "plant/state"):
        broker.publish("-t", topic, "-m", "online", "-r", "-q", "1")
    settings = line_config(broker, tmp_path, protocol=protocol).mqtt
    async with asyncio.timeout(60):
        assert await remove_retained(settings, "tidy", "bench/#") == 2
        assert await remove_retained(settings, "tidy", "bench/#") == 0
        assert await remove_retained(settings, "tidy", "plant/#") == 1


async def test_listener_hears_what_comes_after_it_and_nothing_retained(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    settings = line_config(broker, tmp_path).mqtt
    broker.publish("-t", "bench/cam1/verdict", "-m", "old", "-r", "-q", "1")
    heard: list[tuple[str, bytes]] = []
    async with (
        MqttListener(settings, "listener", ["bench/+/verdict"], lambda *message: heard.append(message)),
        MqttPublisher(settings, "agent") as publisher,
    ):
        await publisher.publish("bench/cam1/other", b"not heard")
        await publisher.publish("bench/cam1/verdict", b"new")
        await until(lambda: bool(heard))
    assert heard == [("bench/cam1/verdict", b"new")]
