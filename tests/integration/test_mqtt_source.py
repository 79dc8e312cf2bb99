"""The MQTT source against a real mosquitto: nothing is acknowledged early, nothing kept is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from connectors.mqtt.source import MqttSource
from inspector.config import Config
from inspector.domain import Delivery
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until

PROTOCOLS = ["3.1.1", "5"]


class Tap:
    """Reads a source in the background and keeps what came."""

    def __init__(self, source: MqttSource) -> None:
        self.source = source
        self.got: list[Delivery] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with aclosing(self.source.deliveries()) as deliveries:
            async for delivery in deliveries:
                self.got.append(delivery)

    async def take(self, count: int) -> list[Delivery]:
        await until(lambda: len(self.got) >= count)
        return self.got

    async def done(self) -> None:
        await self._task


def make_source(config: Config, notebook: Notebook, camera: str = "cam1") -> MqttSource:
    return MqttSource(config, config.camera_named(camera), RunningClock(), notebook)


async def drop_link(source: MqttSource) -> None:
    """The network is gone, after the broker has seen everything sent so far."""
    connection = source._session.connection
    assert connection is not None
    assert await connection.round_trip(5) is not None
    connection.abort()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_unacknowledged_frames_come_again_marked(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol)
    async with make_source(config, notebook) as source:
        tap = Tap(source)
        for number in range(3):
            await asyncio.to_thread(broker.publish, "-t", "p/s/cam1/frame", "-q", "1", "-m", f"frame {number}")
        first = list(await tap.take(3))
        assert [each.payload for each in first] == [b"frame 0", b"frame 1", b"frame 2"]
        assert not any(each.redelivered or each.backlog for each in first)
        await source.acknowledge(first[0].position)
        await drop_link(source)
        await tap.take(5)
        assert [each.payload for each in tap.got[3:]] == [b"frame 1", b"frame 2"]
        assert all(each.redelivered and each.backlog for each in tap.got[3:])
        assert tap.got[3].position.generation == 2
